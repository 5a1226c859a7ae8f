/**
 * A whole number as Rust's `parse::<u32>` takes it, which the AWS proxy reads its arguments with: decimal digits,
 * perhaps a plus in front. The caller checks the range.
 */
export function parseUnsigned(text: string): number | undefined {
  return /^\+?[0-9]+$/.test(text) ? Number(text) : undefined;
}
