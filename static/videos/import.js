// Import of captions: the file goes from the dialog, and what is wrong with it is listed there line by line.
(() => {
  "use strict";

  const form = document.querySelector("[data-import]");
  if (!form) return;
  const box = form.querySelector("[data-import-errors]");

  function refuse(sentence, details = []) {
    box.hidden = false;
    box.querySelector("[data-import-sentence]").textContent = sentence;
    box.querySelector("[data-import-lines]").replaceChildren(...details.map(({ path, message }) => {
      const item = document.createElement("li");
      const line = document.createElement("strong");
      line.className = "num";
      line.textContent = path.replace(/^l/, "L");
      item.append(line, ` ${message}`);
      return item;
    }));
  }

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("[type=submit]");
    button.disabled = true;
    box.hidden = true;
    try {
      const answer = await fetch(form.dataset.import, { method: "PUT", body: new FormData(form), headers: { "X-CSRFToken": form.elements.csrf_token.value } });
      const isJson = answer.headers.get("Content-Type")?.includes("json");
      if (answer.ok) {
        form.closest("dialog").close();
        form.reset();
        window.throughline.toast("Imported: it is the newest version now.", "ok");
        document.querySelector("[data-watch]")?.dispatchEvent(new Event("transcript:look"));
      } else {
        const given = isJson ? await answer.json() : {};
        const details = (given.details ?? []).filter(({ path }) => /^line \d+$/.test(path));
        refuse(details.length ? "The file cannot be used. Correct these lines, then choose it again:" : given.message || "This file could not be imported. Try again.", details);
      }
    } catch {
      refuse("No answer from the server. Check your connection and try again.");
    } finally {
      button.disabled = false;
    }
  });
  form.addEventListener("change", () => { box.hidden = true; });
})();
