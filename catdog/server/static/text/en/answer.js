export default {
  "answer.title": "What is on the photo?",
};
