// Before the first paint: the theme chosen last time, dark unless the viewer's system asks for light.
(() => {
  const kept = localStorage.getItem("tapeline-theme");
  const light = matchMedia("(prefers-color-scheme: light)").matches;
  document.documentElement.dataset.theme = kept ?? (light ? "light" : "dark");
})();
