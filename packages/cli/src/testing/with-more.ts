/** For tests: what the command writes of an error, `CODE: message`, with the line that says where it is explained. */
export function withMore(said: string): string {
  return `${said}\nMore: npx nbit explain-error ${said.split(":", 1)[0] ?? ""}\n`;
}
