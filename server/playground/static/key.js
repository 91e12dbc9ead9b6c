// The API key: asked for when the server answers 401, kept in this tab, sent as a Bearer token.

const STORE = "sdrpn-api-key";

let asking = null;

/** The headers that carry the key, if there is one. */
export function authorization() {
  const key = sessionStorage.getItem(STORE);
  return key ? { Authorization: `Bearer ${key}` } : {};
}

export function hasKey() {
  return sessionStorage.getItem(STORE) !== null;
}

/**
 * Called when the server refused `headers`: true once there is another key to try, false if the
 * user has none. Requests refused at the same time share one dialog.
 */
export async function anotherKey(headers) {
  if (authorization().Authorization !== headers.Authorization) return true;
  asking ??= ask(headers.Authorization !== undefined).finally(() => (asking = null));
  return asking;
}

function ask(refused) {
  const dialog = document.getElementById("key");
  const field = document.getElementById("key-value");
  document.getElementById("key-why").textContent = refused
    ? "The key you gave was refused. Is it complete?"
    : "Its operator can give you one.";
  field.value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener(
      "close",
      () => {
        const given = dialog.returnValue === "use" && field.value.trim() !== "";
        if (given) sessionStorage.setItem(STORE, field.value.trim());
        field.value = "";
        resolve(given);
      },
      { once: true },
    );
  });
}
