import t from 'tap'
import { loadIstioCaService } from '#identity/ca'

const field = (tag: number, bytes: Buffer) => Buffer.concat([Buffer.from([tag, bytes.length]), bytes])
const text = (tag: number, value: string) => field(tag, Buffer.from(value))

t.test("requests and answers have the field numbers of Istio's API", async (t) => {
  const method = (await loadIstioCaService())['CreateCertificate']
  if (method === undefined) return t.fail('no such method')
  t.equal(method.path, '/istio.v1.auth.IstioCertificateService/CreateCertificate')
  t.notOk(method.requestStream || method.responseStream)

  // google.protobuf.Struct: fields = 1, a map entry: key = 1, value = 2, of which string_value = 3.
  const entry = Buffer.concat([text(0x0a, 'ImpersonatedIdentity'), field(0x12, text(0x1a, 'spiffe://a/ns/b/sa/c'))])
  const request = Buffer.concat([
    text(0x0a, 'CSR'),
    Buffer.from([0x18, 0x80, 0xa3, 0x05]),
    field(0x22, field(0x0a, entry)),
  ])
  const read = {
    csr: 'CSR',
    validity_duration: 86_400,
    metadata: { fields: { ImpersonatedIdentity: { stringValue: 'spiffe://a/ns/b/sa/c' } } },
  }
  t.match(method.requestDeserialize(request), read)
  t.ok(method.requestSerialize(read).equals(request))
  t.match(method.requestDeserialize(text(0x0a, 'CSR')), { csr: 'CSR', validity_duration: 0, metadata: null })

  const answer = Buffer.concat([text(0x0a, 'leaf'), text(0x0a, 'root'), field(0x12, text(0x0a, 'root 2'))])
  t.match(method.responseDeserialize(answer), { cert_chain: ['leaf', 'root'], root_cert: { ca_cert: ['root 2'] } })
  t.ok(method.responseSerialize({ cert_chain: ['leaf', 'root'], root_cert: { ca_cert: ['root 2'] } }).equals(answer))
  return undefined
})
