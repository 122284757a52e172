// Uploads: files are dropped or picked, sent in resumable parts by tus, and become videos; captions follow by name.
// Everything works on #upload, which is a plain form without this script.
(() => {
  "use strict";

  const form = document.getElementById("upload");
  if (!form || !window.tus || !window.tus.isSupported) return;

  const CAPTIONS = /\.(srt|vtt)$/i;
  const SECOND = 1000;
  const CHUNK_BYTES = 16 * 1024 * 1024; // what arrived is kept, but browsers send a part whose connection was reset once more by themselves
  const list = document.getElementById("upload-list");
  const template = document.getElementById("upload-row");
  const said = form.querySelector("[data-said]");
  const pick = form.querySelector("[data-pick]");
  const token = form.querySelector("input[name=csrf_token]").value;
  const most = Number(form.dataset.mostBytes);
  const atOnce = Number(form.dataset.atOnce);
  const captions = new Map(); // name without extension -> File
  const items = [];

  const stem = (name) => name.replace(/\.[^.]+$/, "").toLowerCase();
  // "talk.en.srt" belongs to "talk.mp4" as well
  const captionsFor = (name) => captions.get(stem(name)) || [...captions].find(([key]) => key.replace(/\.[a-z-]{2,8}$/, "") === stem(name))?.[1];
  const say = (text) => { said.textContent = text; };

  function size(bytes) {
    const units = ["B", "kB", "MB", "GB"];
    let at = 0;
    let value = bytes;
    while (value >= 1000 && at < units.length - 1) { value /= 1000; at += 1; }
    return `${at && value < 10 ? value.toFixed(1) : Math.round(value)} ${units[at]}`;
  }

  function span(seconds) {
    if (!Number.isFinite(seconds)) return "";
    if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s left`;
    if (seconds < 3600) return `${Math.round(seconds / 60)} min left`;
    return `${(seconds / 3600).toFixed(1)} h left`;
  }

  // ---- One file ----
  class Item {
    constructor(file) {
      this.file = file;
      this.state = "waiting"; // waiting, uploading, paused, finishing, done, refused
      this.isLost = false; // stopped by a lost connection and not by the person: it goes on when that is back
      this.samples = [];
      this.row = template.content.firstElementChild.cloneNode(true);
      this.part("name").textContent = file.name;
      this.part("name").title = file.name;
      this.part("bar").setAttribute("aria-label", `Upload of ${file.name}`);
      for (const name of ["pause", "resume", "cancel"]) {
        const button = this.part(name);
        button.setAttribute("aria-label", `${button.title} ${file.name}`);
        button.addEventListener("click", () => this[name]());
      }
      this.part("again").addEventListener("click", () => this.finish(true));
      list.append(this.row);
      this.show();
    }

    part(name) { return this.row.querySelector(`[data-${name}]`); }

    show(text) {
      const words = { waiting: "Waiting", uploading: "Uploading", paused: "Paused", finishing: "Checking the file", done: "Added", refused: "Not added" };
      this.part("state").textContent = text || words[this.state];
      this.part("pause").hidden = this.state !== "uploading";
      this.part("resume").hidden = this.state !== "paused";
      this.part("cancel").hidden = this.state === "finishing";
      this.part("cancel").title = ["done", "refused"].includes(this.state) ? "Remove" : "Cancel";
      this.part("cancel").setAttribute("aria-label", `${this.part("cancel").title} ${this.file.name}`);
      this.row.dataset.stage = this.state;
      if (this.state === "finishing") this.part("bar").removeAttribute("value");
      if (this.state !== "uploading") this.part("numbers").textContent = "";
      const beside = captionsFor(this.file.name);
      this.part("captions").hidden = !beside;
      if (beside) this.part("captions").textContent = `with ${beside.name}`;
    }

    start() {
      this.state = "uploading";
      this.show();
      this.upload ??= this.newUpload();
      this.send();
    }

    newUpload() {
      return new window.tus.Upload(this.file, {
        endpoint: form.dataset.endpoint,
        chunkSize: CHUNK_BYTES,
        retryDelays: [0, 1000, 3000, 5000, 10000, 20000, 30000],
        headers: { "X-CSRFToken": token },
        metadata: { filename: this.file.name, filetype: this.file.type },
        // Kept until the file has become a video: who loses the connection before that need not send it twice.
        removeFingerprintOnSuccess: false,
        onProgress: (sent, total) => this.progress(sent, total),
        onError: (error) => this.failed(error),
        onSuccess: () => this.finish(false),
      });
    }

    // Goes on where an earlier try stopped, also one before a reload. It may be paused or cancelled while it looks.
    async send() {
      const previous = this.upload.url ? [] : await this.upload.findPreviousUploads();
      if (this.state !== "uploading") return;
      if (previous.length) this.upload.resumeFromPreviousUpload(previous.at(-1));
      this.upload.start();
    }

    // The next time the same file is chosen, it is a new upload.
    async forget() {
      const { urlStorage } = this.upload.options;
      for (const each of await this.upload.findPreviousUploads()) await urlStorage.removeUpload(each.urlStorageKey);
    }

    progress(sent, total) {
      if (this.state !== "uploading") return;
      const now = performance.now();
      this.samples.push([now, sent]);
      while (this.samples.length > 2 && now - this.samples[0][0] > 5 * SECOND) this.samples.shift();
      const [since, before] = this.samples[0];
      const speed = now > since ? ((sent - before) * SECOND) / (now - since) : 0;
      this.part("bar").value = total ? (100 * sent) / total : 0;
      const rate = speed ? `, ${size(speed)}/s, ${span((total - sent) / speed)}` : "";
      this.part("numbers").textContent = `${size(sent)} of ${size(total)}${rate}`;
    }

    pause() {
      this.isLost = false;
      this.upload.abort();
      this.state = "paused";
      this.samples = [];
      this.show();
      next();
      this.part("resume").focus();
    }

    resume() {
      this.isLost = false;
      this.state = "uploading";
      this.refuse("");
      this.send();
      this.part("pause").focus();
    }

    comeBack() {
      if (!this.isLost) return;
      this.isLost = false;
      if (this.state === "refused") {
        this.finish(this.isAgain);
        return;
      }
      this.state = "waiting"; // for its turn: all of them were lost, and only so many go at once
      this.refuse("");
    }

    cancel() {
      if (this.upload && this.state !== "done") this.upload.abort(true).catch(() => {});
      this.state = "cancelled";
      items.splice(items.indexOf(this), 1);
      this.row.remove();
      list.hidden = !items.length;
      say(`${this.file.name} removed.`);
      pick.focus();
      next();
    }

    failed(error) {
      let message = "The connection was lost. This goes on by itself when you are online again; if it does not, press “Go on”.";
      const answer = error && error.originalResponse;
      if (answer) {
        try { message = JSON.parse(answer.getBody()).message || message; } catch { message = "The server did not take this file. Try again."; }
      }
      const isFinal = answer && [400, 401, 404, 413, 422].includes(answer.getStatus());
      this.state = isFinal ? "refused" : "paused";
      this.isLost = !answer;
      this.refuse(message);
      next();
    }

    refuse(message) {
      this.show();
      this.part("error").hidden = !message;
      this.part("error").textContent = message;
      if (message) say(`${this.file.name}: ${message}`);
    }

    async finish(again) {
      this.state = "finishing";
      this.isAgain = again;
      this.part("again").hidden = true;
      this.refuse("");
      const beside = captionsFor(this.file.name);
      try {
        const body = { upload_id: this.upload.url.split("/").pop(), language: form.elements.language.value };
        if (form.elements.vocabulary.value.trim()) body.vocabulary = form.elements.vocabulary.value;
        if (beside) body.captions = await beside.text();
        const answer = await fetch(`${form.dataset.videos}${again ? "?again=1" : ""}`, {
          method: "POST",
          body: JSON.stringify(body),
          headers: { "X-CSRFToken": token, "Content-Type": "application/json" },
        });
        const given = await answer.json();
        if (answer.ok) this.done(given);
        else this.notAdded(given);
      } catch {
        this.state = "refused";
        this.isLost = true;
        this.refuse("The connection was lost while the file was checked. Choose the same file again; nothing has to be sent twice.");
      }
      next();
    }

    done(video) {
      this.state = "done";
      this.part("bar").value = 100;
      this.show();
      this.link(video);
      say(`${this.file.name} was added.`);
      document.dispatchEvent(new Event("videos:added"));
      this.forget();
    }

    notAdded(given) {
      this.state = "refused";
      this.part("bar").value = 0;
      this.refuse(given.message || "This file could not be added.");
      if (given.video) {
        this.link(given.video);
        this.part("again").hidden = false;
      }
    }

    link(video) {
      const open = this.part("open-video");
      open.href = new URL(video.url).pathname;
      open.setAttribute("aria-label", `Open ${video.title}`);
      open.hidden = false;
    }
  }

  // ---- All files ----
  function next() {
    const running = items.filter((item) => item.state === "uploading" || item.state === "finishing").length;
    items.filter((item) => item.state === "waiting").slice(0, Math.max(0, atOnce - running)).forEach((item) => item.start());
  }

  function add(files) {
    const all = [...files];
    for (const file of all.filter((each) => CAPTIONS.test(each.name))) captions.set(stem(file.name), file);
    let count = 0;
    for (const file of all.filter((each) => !CAPTIONS.test(each.name))) {
      const item = new Item(file);
      items.push(item);
      if (file.size > most) {
        item.state = "refused";
        item.refuse(`This file has ${size(file.size)}; at most ${size(most)} are allowed. Export it with a lower quality, or cut it into parts.`);
      } else if (!file.size) {
        item.state = "refused";
        item.refuse("This file is empty. Check that it was saved completely.");
      } else count += 1;
    }
    list.hidden = !items.length;
    items.forEach((item) => item.state === "waiting" && item.show());
    if (count) say(`${count} ${count === 1 ? "file" : "files"} added to the uploads.`);
    else if (!items.length) say("These are captions. Add the video that they belong to.");
    if (!items.length && all.length && window.throughline) window.throughline.toast("These are captions. Add the video that they belong to.", "info");
    next();
  }

  form.querySelector("[data-plain]").hidden = true;
  // Every file has its own row below, so the browser's own "No file chosen" would never be true.
  form.querySelector("[data-pick-button]").hidden = false;
  pick.classList.add("upload-unseen");
  pick.multiple = true;
  pick.required = false;
  pick.addEventListener("change", () => { add(pick.files); pick.value = ""; });
  form.addEventListener("submit", (event) => event.preventDefault());

  let depth = 0;
  const hasFiles = (event) => [...(event.dataTransfer?.types || [])].includes("Files");
  const over = (isOver) => {
    document.body.classList.toggle("is-dragging", isOver);
    const panel = document.getElementById("upload-panel");
    if (isOver && panel) panel.hidden = false;
  };
  window.addEventListener("dragenter", (event) => { if (hasFiles(event)) { depth += 1; over(true); event.preventDefault(); } });
  window.addEventListener("dragleave", (event) => { if (hasFiles(event)) { depth = Math.max(0, depth - 1); if (!depth) over(false); } });
  window.addEventListener("dragover", (event) => { if (hasFiles(event)) event.preventDefault(); });
  window.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    depth = 0;
    over(false);
    add(event.dataTransfer.files);
  });
  window.addEventListener("online", () => {
    items.forEach((item) => item.comeBack());
    next();
  });
  window.addEventListener("beforeunload", (event) => {
    if (items.some((item) => item.state === "uploading" || item.state === "finishing")) event.preventDefault();
  });
  document.addEventListener("click", (event) => {
    const opener = event.target instanceof Element && event.target.closest("[data-show-upload]");
    const panel = document.getElementById("upload-panel");
    if (!opener || !panel) return;
    event.preventDefault();
    panel.hidden = !panel.hidden;
    if (!panel.hidden) pick.focus();
  });
})();

// The library shows what is new (from here, another tab or a program) without a reload, and watches it from then on.
(() => {
  "use strict";

  const box = document.querySelector("[data-news]");
  if (!box) return;
  const version = () => box.querySelector("[data-version]")?.dataset.version;
  let shown = version();
  let isBusy = false;

  async function refresh() {
    if (isBusy) return; // the loop below looks again
    isBusy = true;
    try {
      while (version() !== shown) {
        shown = version();
        await window.htmx.ajax("GET", location.pathname + location.search, { target: "#library", select: "#library", swap: "outerHTML" });
      }
    } finally {
      isBusy = false;
    }
  }

  // What this tab has added is shown also while the socket is away.
  document.addEventListener("videos:added", () => { shown = null; refresh(); });
  new MutationObserver(refresh).observe(box, { childList: true, subtree: true, attributes: true });
})();

// Filters apply when chosen.
document.addEventListener("change", (event) => {
  if (event.target instanceof HTMLSelectElement && "submit" in event.target.dataset) event.target.form.requestSubmit();
});
