// The page: photos come in by drop, file, paste or camera, and answers are drawn, the newest on top.

const MOST_BARS = 8;
const element = (name) => document.getElementById(name);
const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)}%`;
const answers = []; // {name, url, answer, ms}, or without an answer while it is computed
let language = navigator.language.startsWith("zh") ? "zh" : "en";

function say(key, values = {}) {
  return WORDS[language][key].replace(/{(\w+)}/g, (_, name) => values[name]);
}

/** make("p", {className: "soft"}, "text", child, ...) */
function make(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children.filter((child) => child !== null));
  return made;
}

function draw() {
  document.documentElement.lang = say("lang");
  document.title = say("title");
  element("classes").textContent = model.classes.join(" · ");
  element("language").textContent = say("other");
  for (const name of ["title", "lead", "invitation", "choose", "camera", "paste", "shoot", "close", "private"]) {
    element(name).textContent = say(name);
  }
  const { accuracy, photos } = model.validation;
  const figures = [
    model.trainedOn ? say("learned", { count: model.trainedOn.toLocaleString("en") }) : "",
    photos ? say("about", { right: percent(accuracy), photos: photos.toLocaleString("en") }) : "",
  ];
  element("about").textContent = figures.join(language === "zh" ? "" : " ");
  element("answers").replaceChildren(...answers.map(drawAnswer));
}

function drawAnswer(item) {
  const photo = make("img", { src: item.url, alt: item.name });
  if (item.problem) return make("article", {}, make("p", { className: "problem" }, say("unreadable", item)));
  if (!item.answer) return make("article", {}, photo, make("p", { className: "headline soft" }, say("working")));
  const { familiarity } = item.answer;
  const isUnfamiliar = verdict(item.answer) === "unfamiliar";
  const key = isUnfamiliar ? "isUnfamiliar" : "familiarity";
  return make(
    "article",
    {},
    photo,
    make(
      "div",
      {},
      headline(item.answer, "h2"),
      bars(item.answer),
      familiarity === null
        ? null
        : make("p", { className: "soft" }, say(key, { share: percent(familiarity, 0), rest: percent(1 - familiarity, 0) })),
      make("figure", {}, seen(item.answer.pixels), make("figcaption", { className: "soft" }, sight(), make("br", {}), say("time", { ms: Math.round(item.ms) }))),
    ),
  );
}

function sight() {
  const [height, width] = model.imageSize;
  return say("seen", { height, width });
}

function headline(answer, tag) {
  const best = answer.probabilities.indexOf(Math.max(...answer.probabilities));
  const plain = `${model.classes[best]} ${percent(answer.probabilities[best])}`;
  const doubt = verdict(answer);
  const found = make(tag, { className: "headline" }, ...(doubt === "label" ? [plain] : [say(doubt), " ", make("small", {}, `(${plain})`)]));
  return found;
}

/** A bar a class; where there are many, the likeliest alone. */
function bars({ probabilities }) {
  let order = probabilities.map((_, index) => index);
  if (order.length > 2) order = order.sort((a, b) => probabilities[b] - probabilities[a]).slice(0, MOST_BARS);
  const rows = order.map((index) => {
    const bar = make("i", { className: `class-${index % 8}` });
    bar.style.setProperty("--share", probabilities[index]);
    return make("tr", {}, make("th", { scope: "row" }, model.classes[index]), make("td", { className: "bar" }, bar), make("td", { className: "share" }, percent(probabilities[index])));
  });
  return make("table", {}, make("caption", { className: "unseen" }, say("probabilities")), make("tbody", {}, ...rows));
}

/** What the network sees, drawn on a canvas. */
function seen(pixels) {
  const [height, width] = model.imageSize;
  const canvas = make("canvas", { width, height, role: "img", ariaLabel: sight() });
  const image = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    image.data.set(pixels.subarray(3 * i, 3 * i + 3), 4 * i);
    image.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

function note(key, values) {
  element("note").textContent = key ? say(key, values) : "";
}

async function take(files) {
  note("");
  const items = [...files].map((file) => ({ file, name: file.name, url: URL.createObjectURL(file) }));
  answers.unshift(...items);
  for (const item of items) {
    draw();
    const start = performance.now();
    try {
      item.answer = await askFile(item.file);
    } catch {
      item.problem = true;
    }
    item.ms = performance.now() - start;
  }
  document.body.classList.toggle("answered", answers.length > 0);
  draw();
}

for (const name of ["files", "shot"]) {
  element(name).addEventListener("change", ({ target }) => {
    take(target.files);
    target.value = "";
  });
}
element("choose").addEventListener("click", () => element("files").click());
element("language").addEventListener("click", () => {
  language = language === "zh" ? "en" : "zh";
  note("");
  draw();
});

addEventListener("dragover", (event) => {
  event.preventDefault();
  element("sources").classList.add("over");
});
addEventListener("dragleave", (event) => event.relatedTarget || element("sources").classList.remove("over"));
addEventListener("drop", (event) => {
  event.preventDefault();
  element("sources").classList.remove("over");
  take(event.dataTransfer.files);
});
addEventListener("paste", ({ clipboardData }) => {
  if (clipboardData.files.length) take(clipboardData.files);
  else note("nothing");
});
element("paste").addEventListener("click", async () => {
  try {
    const found = [];
    for (const item of await navigator.clipboard.read()) {
      const type = item.types.find((each) => each.startsWith("image/"));
      if (type) found.push(new File([await item.getType(type)], type.replace("/", "."), { type }));
    }
    if (found.length) take(found);
    else note("nothing");
  } catch {
    note("noPaste");
  }
});

element("camera").addEventListener("click", async () => {
  note("");
  if (!navigator.mediaDevices) return element("shot").click(); // the phone's own camera
  const video = element("video");
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    await video.play();
  } catch {
    return note("noCamera");
  }
  element("booth").hidden = false;
  element("sources").hidden = true;
  while (video.srcObject) {
    const picture = pixelsOf(video, video.videoWidth, video.videoHeight);
    const answer = await ask(resize(picture, model, false));
    element("live").replaceChildren(headline(answer, "span"));
    await new Promise(requestAnimationFrame);
  }
});

function closeCamera() {
  const video = element("video");
  for (const track of video.srcObject?.getTracks() ?? []) track.stop();
  video.srcObject = null;
  element("booth").hidden = true;
  element("sources").hidden = false;
}
element("close").addEventListener("click", closeCamera);
element("shoot").addEventListener("click", () => {
  const video = element("video");
  const canvas = make("canvas", { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  closeCamera();
  canvas.toBlob((blob) => take([new File([blob], say("camera"), { type: blob.type })]));
});

draw();
