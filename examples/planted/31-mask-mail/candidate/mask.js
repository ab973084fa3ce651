"use strict";

/** Hides who stands before the @ of mail addresses. */
function mask(text) {
  return text.replace(/[\w.+-]+@([\w-]+(?:\.[\w-]+)+)/, "***@$1");
}

module.exports = { mask };
