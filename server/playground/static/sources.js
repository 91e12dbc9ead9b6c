// Where pictures of one's own come from: the file chooser, the clipboard, drag and drop.

/** Calls `open(file)` for each picture the user brings. */
export function listenForPictures(open) {
  const chooser = document.getElementById("file");
  chooser.addEventListener("change", () => {
    if (chooser.files.length) open(chooser.files[0]);
    chooser.value = ""; // choosing the same file again is a change, too
  });

  document.addEventListener("paste", (event) => {
    if (!event.clipboardData?.files.length) return; // text, for the question
    event.preventDefault();
    open(event.clipboardData.files[0]);
  });

  const carriesFile = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragover", (event) => {
    if (!carriesFile(event)) return;
    event.preventDefault();
    document.body.classList.add("dragging");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dragging");
  });
  document.addEventListener("drop", (event) => {
    document.body.classList.remove("dragging");
    if (!carriesFile(event)) return;
    event.preventDefault();
    if (event.dataTransfer.files.length) open(event.dataTransfer.files[0]);
  });
}
