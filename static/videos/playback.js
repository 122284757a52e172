// A player without a source (browsers do not play the file) gets the copy as soon as it is made, without a reload.
(() => {
  "use strict";

  const player = document.querySelector("[data-player]");
  const place = player?.closest(".watch-player");
  if (!place) return;

  function look() {
    const url = place.querySelector("[data-playback]")?.dataset.url;
    if (!url || (player.getAttribute("src") && !player.error) || player.getAttribute("src") === url) return;
    const start = Number(place.closest("[data-watch]")?.dataset.start);
    player.src = url;
    player.controls = true;
    place.classList.remove("watch-unplayable");
    if (start > 0) player.addEventListener("loadedmetadata", () => { player.currentTime = start; }, { once: true });
  }

  new MutationObserver(look).observe(place, { childList: true, subtree: true, attributes: true, attributeFilter: ["data-url"] });
  look();
})();
