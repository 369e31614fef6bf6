/**
 * Under the sanitizers (`npm run test:sanitize`) freed memory stays in quarantine and every block has a border:
 * resident memory says nothing about the allocator then. Everything else is asserted as ever.
 */
export const MEASURABLE = process.env["NBIT_SANITIZED"] === undefined;
export const UNMEASURABLE = MEASURABLE
  ? false
  : "sanitizers keep freed memory and surround blocks: resident memory is theirs";
