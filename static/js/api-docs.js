// Shows the API's description: in the theme of the site, sending the session's CSRF token with what is tried out.
"use strict";

const root = document.documentElement;
const dark = window.matchMedia("(prefers-color-scheme: dark)");

function applyTheme() {
  const theme = root.dataset.theme || (dark.matches ? "dark" : "light");
  root.classList.toggle("dark-mode", theme === "dark");
}

applyTheme();
dark.addEventListener("change", applyTheme);

const settings = JSON.parse(document.getElementById("api-docs-settings").textContent);

window.SwaggerUIBundle({
  ...settings,
  dom_id: "#api-docs",
  presets: [window.SwaggerUIBundle.presets.apis],
  requestInterceptor(request) {
    request.headers["X-CSRFToken"] = document.body.dataset.csrfToken;
    return request;
  },
});
