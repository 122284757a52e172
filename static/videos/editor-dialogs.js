// The editor's dialogs: replace all, with the count before it is done, and the names of the speakers.
(() => {
  "use strict";

  const { count, tidy } = window.transcriptEditor;

  // ---- Replace all ----
  function replacement(form) {
    const { find, with: by, match_case: hasCase, whole_words: isWhole } = form.elements;
    return { op: "replace", find: tidy(find.value), with: tidy(by.value), match_case: hasCase.checked, whole_words: isWhole.checked };
  }

  function showCount(editor, form) {
    const op = replacement(form);
    const places = count(editor.history.cues, op);
    const box = form.querySelector("[data-replace-count]");
    if (!op.find) box.textContent = "";
    else if (!places) box.textContent = "Nothing found.";
    else box.textContent = op.with ? `${places} ${places === 1 ? "place" : "places"} will read “${op.with}”.` : `It will be removed in ${places} ${places === 1 ? "place" : "places"}.`;
    form.querySelector("[data-replace-go]").disabled = !places;
  }

  function openReplace(editor) {
    const dialog = document.getElementById("editor-replace");
    const form = dialog.querySelector("form");
    const chosen = String(getSelection()).trim();
    if (chosen && chosen.length < 100) form.elements.find.value = chosen;
    showCount(editor, form);
    dialog.showModal();
    form.elements.find.focus();
    form.elements.find.select();
  }

  function replaceAll(editor, form) {
    const op = replacement(form);
    const places = count(editor.history.cues, op);
    if (!places) return;
    form.closest("dialog").close();
    editor.close();
    editor.do(op);
    editor.say(`Replaced in ${places} places. Undo takes it back.`);
  }

  // ---- Speakers ----
  const speakers = (cues) => [...new Set(cues.map((cue) => cue.speaker).filter(Boolean))];

  function openSpeakers(editor) {
    const dialog = document.getElementById("editor-speakers");
    const names = speakers(editor.history.cues);
    const box = dialog.querySelector("[data-speakers]");
    box.replaceChildren(...names.map((name, number) => {
      const field = document.createElement("div");
      field.className = "field";
      const label = document.createElement("label");
      label.className = "form-label";
      label.htmlFor = `speaker-${number}`;
      const cues = editor.history.cues.filter((cue) => cue.speaker === name).length;
      label.textContent = `${name} · ${cues} ${cues === 1 ? "cue" : "cues"}`;
      const input = document.createElement("input");
      Object.assign(input, { id: label.htmlFor, className: "form-control", value: name, maxLength: 100, autocomplete: "off" });
      input.dataset.was = name;
      field.append(label, input);
      return field;
    }));
    dialog.querySelector("[data-speakers-form]").hidden = !names.length;
    dialog.querySelector("[data-speakers-none]").hidden = Boolean(names.length);
    dialog.showModal();
  }

  // All new names at once: whoever swaps two of them does not mean to merge them.
  function rename(editor, form) {
    const changes = [...form.querySelectorAll("[data-was]")].map((input) => [input.dataset.was, tidy(input.value)]).filter(([was, to]) => was !== to);
    const taken = new Set(speakers(editor.history.cues));
    const isSwap = changes.length > 1 && changes.some(([, to]) => taken.has(to));
    const steps = isSwap ? [...changes.map(([was], number) => [was, `\u2060${number}`]), ...changes.map(([, to], number) => [`\u2060${number}`, to])] : changes;
    form.closest("dialog").close();
    if (!steps.length) return;
    editor.close();
    editor.do(...steps.map(([speaker, to]) => ({ op: "rename_speaker", speaker, to: to || null })));
    editor.say("Renamed everywhere.");
  }

  function listen(editor) {
    const replace = document.querySelector("[data-replace-form]");
    replace.addEventListener("input", () => showCount(editor, replace));
    replace.addEventListener("submit", (event) => {
      event.preventDefault();
      replaceAll(editor, replace);
    });
    const names = document.querySelector("[data-speakers-form]");
    names.addEventListener("submit", (event) => {
      event.preventDefault();
      rename(editor, names);
    });
  }

  Object.assign(window.transcriptEditor, { listenToDialogs: listen, openReplace, openSpeakers, speakers });
})();
