// What a person opened or closed stays so when a poll brings the same part of the page anew.

const opened = new Map(); // id of a <details> → whether it is open

document.addEventListener("toggle", ({ target }) => target.id && opened.set(target.id, target.open), true);

function restore() {
  for (const part of document.querySelectorAll("details[id]")) {
    if (opened.has(part.id)) part.open = opened.get(part.id);
  }
}

document.addEventListener("htmx:afterSwap", restore);
document.addEventListener("htmx:oobAfterSwap", restore);
