// The card that opens at a footnote's marker, by pointer or by keyboard; Escape closes it.

const WAIT = 180; // milliseconds in which the pointer may travel from the marker to the card
let card = null;
let opener = null;
let closing = 0;

document.addEventListener("pointerover", (event) => {
  if (event.pointerType === "touch") return; // a tap opens the source itself
  const link = event.target.closest?.("a[data-note]");
  if (link) open(link);
  else if (card && !card.contains(event.target)) closeSoon();
  else clearTimeout(closing);
});

document.addEventListener("focusin", (event) => {
  const link = event.target.closest?.("a[data-note]");
  if (link?.matches(":focus-visible")) open(link);
  else if (card && !card.contains(event.target)) close();
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") close();
});

function open(link) {
  clearTimeout(closing);
  if (opener === link) return;
  close();
  const source = document.getElementById(`note-${link.dataset.note}`);
  if (!source) return;
  opener = link;
  card = document.createElement("div");
  card.className = "card";
  card.id = "note-card";
  card.setAttribute("role", "tooltip");
  const copy = source.cloneNode(true);
  copy.removeAttribute("id");
  copy.querySelector(".back")?.remove();
  const list = document.createElement("div");
  list.className = copy.className;
  list.dataset.marker = copy.dataset.marker;
  list.append(...copy.childNodes);
  for (const inner of list.querySelectorAll("a")) inner.tabIndex = -1; // the marker itself leads there
  card.append(list);
  document.body.append(card);
  put(link);
  link.setAttribute("aria-describedby", "note-card");
  source.classList.add("lit");
}

function put(link) {
  const at = link.getBoundingClientRect();
  const size = card.getBoundingClientRect();
  const left = Math.min(Math.max(at.left - 24, 16), document.documentElement.clientWidth - size.width - 16);
  const below = at.bottom + 10;
  const fits = below + size.height < innerHeight || at.top < size.height + 10;
  card.style.left = `${left + scrollX}px`;
  card.style.top = `${(fits ? below : at.top - size.height - 10) + scrollY}px`;
}

function closeSoon() {
  clearTimeout(closing);
  closing = setTimeout(close, WAIT);
}

function close() {
  clearTimeout(closing);
  card?.remove();
  opener?.removeAttribute("aria-describedby");
  document.querySelector(".source.lit")?.classList.remove("lit");
  card = opener = null;
}
