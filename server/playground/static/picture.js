// Pictures: from a file to what is shown, cropped and sent.
//
// The <img> element turns a picture upright as its EXIF orientation says, in its natural size, on
// screen and when drawn to a canvas: the same coordinates as the API's boxes.

import { Failure } from "./api.js";

const MAX_BYTES = 20 * 2 ** 20; // the server's limit: no need to send it more and be refused

/**
 * The picture in `file` (a Blob): {name, page, image, size: [width, height], url}. `page` is the id
 * of a shipped page, or null; `url` the data: URL to send. Throws Failure.
 */
export async function openPicture(file, name, page = null) {
  if (file.size > MAX_BYTES) {
    const megabytes = (file.size / 2 ** 20).toFixed(1);
    throw new Failure(`${name} is too large: ${megabytes} MiB, and 20 MiB are taken.`);
  }
  const image = new Image();
  image.alt = page ? `The shipped page ${name}` : `Your picture ${name}`;
  image.draggable = false;
  image.src = URL.createObjectURL(file);
  try {
    await image.decode();
  } catch {
    closePicture({ image });
    throw new Failure(`${name} is not a picture that can be shown: PNG, JPEG, WebP, GIF or BMP.`);
  }
  const size = [image.naturalWidth, image.naturalHeight];
  return { name, page, image, size, url: await dataUrl(file) };
}

/** Frees what a picture holds. */
export function closePicture(picture) {
  URL.revokeObjectURL(picture.image.src);
}

function dataUrl(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(new Failure("The file cannot be read."));
    reader.readAsDataURL(file);
  });
}
