// Switches between light and dark. The choice is a cookie, so that the server writes it into the page: no flash.

const root = document.documentElement;
const button = document.querySelector("[data-theme-toggle]");

function isDark() {
  return root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function name() {
  button.setAttribute("aria-label", isDark() ? "Switch to light" : "Switch to dark");
}

button.hidden = false;
name();
button.addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `theme=${root.dataset.theme}; path=/; max-age=31536000; SameSite=Lax${secure}`;
  name();
});
