package sevsnp

// AppendInteger writes a DER INTEGER from little-endian bytes.
var AppendInteger = appendInteger

// ProductByCPUID finds a product line by family and model.
var ProductByCPUID = productByCPUID

// ParseCertificates reads DER or PEM.
var ParseCertificates = parseCertificates
