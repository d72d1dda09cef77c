// A drop zone: files dropped on it or chosen in it, wherever they come from.

export const isVideo = (file) => file.type.startsWith("video/") || /\.(mp4|m4v|mov|webm|mkv|avi|ts|mpe?g|ogv|flv|wmv)$/i.test(file.name);
const isPhoto = (file) => file.type.startsWith("image/") || /\.(jpe?g|png|webp|heic|heif|avif|bmp|tiff?|gif)$/i.test(file.name);

export function dropZone(zone, onFiles, { paste = false, accepts = isPhoto } = {}) {
  const input = zone.querySelector("input[type=file]");
  const take = (list) => {
    const taken = [...list].filter(accepts);
    if (taken.length) onFiles(taken);
  };
  input.addEventListener("change", () => { take(input.files); input.value = ""; });
  input.addEventListener("keydown", (event) => { // browsers open the dialog by Space alone; it looks like a button
    if (event.key !== "Enter") return;
    event.preventDefault();
    input.click();
  });
  for (const name of ["dragenter", "dragover"]) {
    zone.addEventListener(name, (event) => { event.preventDefault(); zone.classList.add("over"); });
  }
  for (const name of ["dragleave", "drop"]) zone.addEventListener(name, () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => { event.preventDefault(); take(event.dataTransfer.files); });
  if (paste) document.addEventListener("paste", (event) => take(event.clipboardData?.files ?? []));
}
