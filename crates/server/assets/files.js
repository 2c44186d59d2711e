// The editor of a file: what is not saved is not lost by a slip, and Ctrl S saves. Without this file the
// form works all the same.

for (const form of document.querySelectorAll("form[data-guard]")) {
  const text = form.querySelector("textarea");
  let isSent = false;
  const isUnsaved = () => !isSent && (form.dataset.unsaved !== undefined || text.value !== text.defaultValue);

  addEventListener("beforeunload", (event) => {
    if (isUnsaved()) event.preventDefault();
  });
  form.addEventListener("submit", () => (isSent = true));
  // A page that comes back from the browser's memory can be left without saving again.
  addEventListener("pageshow", () => (isSent = false));
  form.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "s") {
      event.preventDefault();
      form.requestSubmit();
    }
  });
}
