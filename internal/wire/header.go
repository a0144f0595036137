package wire

import (
	"encoding/binary"
	"fmt"
)

// Header is the beginning of every request (request headers v1 and v2; spec 05, 2).
type Header struct {
	Key, Version int16
	Correlation  int32
	// ClientID is nil if the client sent null. Of ParseHeader it is part of the frame, and valid as long as that.
	ClientID []byte
}

// ParseHeader splits a request frame into its header and its body. flexible tells whether a version of an API has
// tagged fields, and so header v2; the header's own tags are skipped. Errors wrap ErrHeader.
//
// With key 7 and version 0 (ControlledShutdown of ancient brokers) the header has no client id (v0).
func ParseHeader(frame []byte, flexible func(key, version int16) bool) (Header, []byte, error) {
	if len(frame) < 8 {
		return Header{}, nil, fmt.Errorf("%w: frame of %d bytes", ErrHeader, len(frame))
	}
	h := Header{
		Key:         int16(binary.BigEndian.Uint16(frame)),
		Version:     int16(binary.BigEndian.Uint16(frame[2:])),
		Correlation: int32(binary.BigEndian.Uint32(frame[4:])),
	}
	body := frame[8:]
	if h.Key == 7 && h.Version == 0 {
		return h, body, nil
	}
	if len(body) < 2 {
		return h, nil, fmt.Errorf("%w: it ends before the client id", ErrHeader)
	}
	n := int(int16(binary.BigEndian.Uint16(body)))
	body = body[2:]
	switch {
	case n < -1:
		return h, nil, fmt.Errorf("%w: client id of %d bytes", ErrHeader, n)
	case n > len(body):
		return h, nil, fmt.Errorf("%w: client id of %d bytes in a frame that has %d more", ErrHeader, n, len(body))
	case n >= 0:
		h.ClientID, body = body[:n:n], body[n:]
	}
	if flexible(h.Key, h.Version) {
		rest, err := skipTags(body)
		if err != nil {
			return h, nil, err
		}
		body = rest
	}
	return h, body, nil
}

// skipTags steps over a section of tagged fields (KIP-482).
func skipTags(b []byte) ([]byte, error) {
	count, n := binary.Uvarint(b)
	if n <= 0 || count > maxTags {
		return nil, fmt.Errorf("%w: bad count of tagged fields", ErrHeader)
	}
	b = b[n:]
	for range count {
		if _, n = binary.Uvarint(b); n <= 0 {
			return nil, fmt.Errorf("%w: it ends within its tagged fields", ErrHeader)
		}
		b = b[n:]
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return nil, fmt.Errorf("%w: a tagged field is longer than the frame", ErrHeader)
		}
		b = b[n+int(size):]
	}
	return b, nil
}

// maxTags is how many tagged fields the Java broker takes in one section.
const maxTags = 10_000

// AppendHeader appends a request header: v2 if flexible, else v1.
func AppendHeader(dst []byte, h Header, flexible bool) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(h.Key))
	dst = binary.BigEndian.AppendUint16(dst, uint16(h.Version))
	dst = binary.BigEndian.AppendUint32(dst, uint32(h.Correlation))
	if h.ClientID == nil {
		dst = append(dst, 0xff, 0xff)
	} else {
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(h.ClientID)))
		dst = append(dst, h.ClientID...)
	}
	if flexible {
		dst = append(dst, 0)
	}
	return dst
}

// AppendResponseHeader appends a response header: v1 if flexible, else v0. The response of ApiVersions is never flexible
// in this sense, whatever its version: a client that does not know the version must be able to read it.
func AppendResponseHeader(dst []byte, correlation int32, flexible bool) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(correlation))
	if flexible {
		dst = append(dst, 0)
	}
	return dst
}
