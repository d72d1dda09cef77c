// A photo from the device's camera; its stream ends as soon as it is not shown.

const QUALITY = 0.92;

export function openCamera({ onPhoto, onError, zone }) {
  const [open, panel, view, shoot, close] =
    ["camera-open", "camera", "camera-view", "camera-shoot", "camera-close"].map((id) => document.getElementById(id));
  let stream = null;

  async function start() {
    try {
      if (!navigator.mediaDevices) throw new DOMException("", "NotSupportedError");
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user", width: { ideal: 1920 } } });
    } catch (error) {
      return onError(new Error(sentence(error.name)));
    }
    view.srcObject = stream;
    await view.play();
    zone.hidden = true;
    panel.hidden = false;
    shoot.focus();
  }

  function stop() {
    stream?.getTracks().forEach((track) => track.stop());
    stream = null;
    panel.hidden = true;
  }

  function take() {
    const canvas = Object.assign(document.createElement("canvas"), { width: view.videoWidth, height: view.videoHeight });
    canvas.getContext("2d").drawImage(view, 0, 0);
    stop();
    canvas.toBlob((blob) => onPhoto(new File([blob], "Photo from the camera", { type: "image/jpeg" })), "image/jpeg", QUALITY);
  }

  open.addEventListener("click", start);
  shoot.addEventListener("click", take);
  close.addEventListener("click", () => { stop(); zone.hidden = false; open.focus(); });
  addEventListener("pagehide", stop);
}

function sentence(name) {
  return {
    NotAllowedError: "The browser was not allowed to use the camera; allow it for this page and try again.",
    NotFoundError: "This device has no camera.",
    NotSupportedError: "Browsers offer the camera over https only; open the console by https.",
  }[name] ?? "The camera cannot be used at the moment.";
}
