// Where photos come from: dropped, chosen, pasted, taken with the camera, drawn.

import { h } from "../../dom.js";

const MOST = 64 * 2 ** 20; // bytes of a photo, as the server takes them

/** Fills `into` with the ways to give a photo; calls `take` with a list of { name, make }. Returns what ends it. */
export function sources(into, app, take) {
  const { t, api } = app;
  let drawn = 0;
  let camera = null;

  const upload = (file, name = file.name) => ({
    name,
    make: () => {
      if (file.size > MOST) throw new Error(t("answer.toolarge", { name }));
      return api.upload(`/api/photos?name=${encodeURIComponent(name)}`, file);
    },
  });
  const takeFiles = (files) => take([...files].map((file) => upload(file)));

  const input = h("input", {
    type: "file",
    multiple: true,
    accept: "image/*,.heic,.heif,.avif,.tif,.tiff",
    class: "unseen",
    tabindex: -1,
    "aria-hidden": "true",
    onchange: () => {
      takeFiles(input.files);
      input.value = "";
    },
  });

  function draw() {
    const label = ["cat", "dog"][drawn % 2];
    const seed = drawn++;
    take([{ name: `${label}.jpg`, make: () => api.post("/api/photos/drawn", { label, seed: 1000 + seed }) }]);
  }

  async function paste() {
    try {
      const found = [];
      for (const item of await navigator.clipboard.read()) {
        const type = item.types.find((one) => one.startsWith("image/"));
        if (type) found.push(upload(await item.getType(type), `${t("answer.pasted")}.${type.split("/")[1]}`));
      }
      if (!found.length) return say(t("answer.nothingpasted"));
      say("");
      await take(found);
    } catch {
      say(t("answer.cannotpaste"));
    }
  }

  async function openCamera() {
    if (camera) return;
    try {
      camera = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" }, audio: false });
    } catch {
      return say(t("answer.nocamera"));
    }
    say("");
    const video = h("video", { autoplay: true, playsinline: true, "aria-label": t("answer.camera") });
    video.muted = true;
    video.srcObject = camera;
    const shoot = h("button", { class: "main", disabled: true, onclick: () => photograph(video) }, t("answer.shoot"));
    const close = h("button", { onclick: closeCamera }, t("answer.closecamera"));
    booth.replaceChildren(video, h("div", { class: "row" }, shoot, close));
    video.onloadeddata = () => {
      shoot.disabled = false;
      shoot.focus();
    };
  }

  function photograph(video) {
    const canvas = h("canvas", { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext("2d").drawImage(video, 0, 0);
    canvas.toBlob((blob) => take([upload(blob, `${t("answer.camera")}.jpg`)]), "image/jpeg", 0.95);
  }

  function closeCamera() {
    camera?.getTracks().forEach((track) => track.stop());
    camera = null;
    booth.replaceChildren();
  }

  const say = (text) => (note.textContent = text);
  const note = h("p", { class: "problem note", role: "status" });
  const booth = h("div", { class: "booth" });
  const buttons = [
    h("button", { class: "main", onclick: () => input.click() }, t("answer.choose")),
    navigator.clipboard?.read && h("button", { onclick: paste }, t("answer.paste")),
    navigator.mediaDevices?.getUserMedia && h("button", { onclick: openCamera }, t("answer.camera")),
    h("button", { onclick: draw }, t("answer.draw")),
  ];
  const zone = h(
    "div",
    { class: "drop" },
    h("p", { class: "invitation" }, t("answer.drop")),
    h("div", { class: "row" }, buttons),
    input,
    note,
  );
  into.append(zone, booth);

  const events = {
    dragover: (event) => {
      event.preventDefault();
      zone.classList.add("over");
    },
    dragleave: (event) => event.relatedTarget || zone.classList.remove("over"),
    drop: (event) => {
      event.preventDefault();
      zone.classList.remove("over");
      takeFiles(event.dataTransfer.files);
    },
    paste: (event) => event.clipboardData.files.length && takeFiles(event.clipboardData.files),
  };
  for (const [name, listener] of Object.entries(events)) document.addEventListener(name, listener);
  return () => {
    closeCamera();
    for (const [name, listener] of Object.entries(events)) document.removeEventListener(name, listener);
  };
}
