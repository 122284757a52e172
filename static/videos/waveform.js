// The waveform under the player shows how far it is; a click goes there.
(() => {
  "use strict";

  const box = document.querySelector("[data-waveform]");
  const player = document.querySelector("[data-player]");
  if (!box || !player) return;
  const done = box.querySelector("[data-waveform-done]");
  const width = box.querySelector("svg").viewBox.baseVal.width;

  function draw() {
    const part = player.duration ? player.currentTime / player.duration : 0;
    done.setAttribute("width", (width * part).toFixed(1));
  }

  for (const name of ["timeupdate", "seeked", "loadedmetadata"]) player.addEventListener(name, draw);
  box.addEventListener("click", (event) => {
    if (!player.duration) return;
    const { left, width: wide } = box.getBoundingClientRect();
    player.currentTime = player.duration * Math.min(1, Math.max(0, (event.clientX - left) / wide));
  });
  draw();
})();
