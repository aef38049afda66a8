/** Serial numbers of certificates as one text each, whoever printed them. */

/** Upper-case hexadecimal without leading zeros; undefined when it is no serial number (20 bytes at most, RFC 5280). */
export function normalizeSerial(text: string): string | undefined {
  const digits = text.replaceAll(':', '').toUpperCase()
  if (!/^(?:0X)?[0-9A-F]{1,42}$/.test(digits)) return undefined
  const bare = digits.replace(/^0X/, '').replace(/^0+(?=.)/, '')
  return bare.length <= 40 ? bare : undefined
}
