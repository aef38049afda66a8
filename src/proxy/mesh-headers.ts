/** Header fields that only the mesh may say: what a client says by them counts for nothing. */

export function isMeshHeader(lowerCaseName: string): boolean {
  return lowerCaseName === 'x-forwarded-client-cert' || lowerCaseName.startsWith('x-weir-')
}
