export default {
  "answer.title": "照片上是什么？",
};
