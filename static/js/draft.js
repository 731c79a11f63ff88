// The answer while it streams: text as it comes, its footnotes as links, its sources in the margin.

const MARKER = /\[(\d{1,3})\]/g;

export class Draft {
  constructor(place, question) {
    this.place = place;
    this.text = "";
    this.sources = new Map();
    this.due = 0;
    place.replaceChildren(document.getElementById("reply-draft").content.cloneNode(true));
    place.querySelector(".question").textContent = question;
    this.answer = place.querySelector(".answer");
    this.aside = place.querySelector(".sources");
  }

  say(words) {
    this.place.querySelector(".progress-line").textContent = words;
  }

  warn(message, before = this.answer) {
    const box = document.getElementById("problem-draft").content.cloneNode(true);
    box.querySelector("p").textContent = message;
    before.before(box);
  }

  add(text) {
    this.text += text;
    this.due ||= requestAnimationFrame(() => {
      this.due = 0;
      this.answer.replaceChildren(...this.paragraphs());
    });
  }

  cite(source) {
    this.sources.set(String(source.marker), source);
    const item = document.getElementById("source-draft").content.cloneNode(true).firstElementChild;
    item.id = `note-${source.marker}`;
    item.dataset.marker = source.marker;
    item.querySelector("a").href = source.href;
    item.querySelector("a").textContent = source.title;
    const where = [source.page ? `page ${source.page}` : "", source.headings.join(" › ")];
    item.querySelector(".where").textContent = where.filter(Boolean).join(" · ");
    item.querySelector("blockquote").textContent = source.quote;
    this.aside.hidden = false;
    this.aside.querySelector("ol").append(item);
  }

  finish(html) {
    cancelAnimationFrame(this.due);
    this.place.innerHTML = html; // rendered by our own server, which escapes what it did not write
    globalThis.htmx?.process(this.place);
  }

  stop(words) {
    this.say(words);
    this.answer.removeAttribute("aria-busy");
  }

  paragraphs() {
    return this.text
      .split(/\n\s*\n/)
      .filter((words) => words.trim())
      .map((words) => {
        const paragraph = document.createElement("p");
        paragraph.append(...this.pieces(words));
        return paragraph;
      });
  }

  *pieces(words) {
    let from = 0;
    for (const match of words.matchAll(MARKER)) {
      const source = this.sources.get(match[1]);
      if (!source) continue;
      yield words.slice(from, match.index).trimEnd();
      yield marker(match[1], source);
      from = match.index + match[0].length;
    }
    yield words.slice(from);
  }
}

function marker(number, source) {
  const raised = document.createElement("sup");
  const link = document.createElement("a");
  raised.className = "note";
  link.href = source.href;
  link.dataset.note = number;
  link.setAttribute("aria-label", `Footnote ${number}: ${source.title}`);
  link.textContent = number;
  raised.append(link);
  return raised;
}
