"use strict";

/** Saves every record. */
async function saveAll(records, save) {
  records.forEach(async (record) => {
    await save(record);
  });
  return records.length;
}

module.exports = { saveAll };
