package kafka

import (
	_ "embed"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// requestShapes says for each API which fields its requests have, as Kafka's message definitions do: a name, a type, in angle
// brackets the versions and the tag. Its lines are walked before a request is decoded: kmsg makes room for as many elements
// as a count says, and goes round as many tagged fields, before it looks whether the bytes are there. So ten bytes could
// keep a processor busy for minutes, and one frame fill the memory.
//
//go:embed requestshapes.tsv
var requestShapes string

// maxElements is how many elements of arrays and tagged fields one request may have in all. (Kafka bounds each array so.)
const maxElements = 1_000_000

// shape is the type of a field.
type shape struct {
	size     int     // in bytes, if that is fixed; 0 otherwise
	text     bool    // a string: its length is 16 bits in versions that are not flexible, else 32
	bytes    bool    // bytes or records
	element  *shape  // of an array
	fields   []field // of a struct
	nullable bool    // a struct that may be absent
}

type field struct {
	*shape
	from, to int16 // versions
	tag      int   // -1: in the body
}

// errShape is what is wrong with a request that does not have its API's shape.
type errShape string

func (e errShape) Error() string { return string(e) }

// shapes are the parsed lines of requestShapes, by API key.
var shapes = sync.OnceValue(func() map[int16]*shape {
	out := map[int16]*shape{}
	lines := strings.Split(strings.TrimSuffix(requestShapes, "\n"), "\n")
	for _, line := range lines[1:] {
		columns := strings.SplitN(line, "\t", 4)
		key, err := strconv.ParseInt(columns[0], 10, 16)
		if err != nil {
			panic("BUG: requestshapes.tsv: " + line)
		}
		p := shapeParser{text: columns[3], named: map[string]*shape{}}
		out[int16(key)] = &shape{fields: p.fields()}
		if p.text != "" {
			panic("BUG: requestshapes.tsv: " + columns[1] + ": " + p.text)
		}
	}
	return out
})

// checkShape walks the body of a request, and says what is wrong with it: a count or a length that its bytes do not bear out,
// or too many elements. Bytes behind the end are let pass, as Kafka lets them.
func checkShape(key, version int16, flexible bool, body []byte) error {
	s := shapes()[key]
	if s == nil {
		return nil
	}
	w := shapeWalk{version: version, flexible: flexible, left: maxElements}
	_, err := w.walk(s, body)
	return err
}

// shapeWalk is one walk over a body.
type shapeWalk struct {
	version  int16
	flexible bool
	left     int // elements that may still come
}

const (
	errShapeShort = errShape("it ends too early")
	errShapeCount = errShape("a count that its bytes do not bear out")
	errShapeMany  = errShape("too many elements")
	errShapeTags  = errShape("bad tagged fields")
)

// walk steps over one value and returns what is behind it.
func (w *shapeWalk) walk(s *shape, b []byte) ([]byte, error) {
	switch {
	case s.size > 0:
		if len(b) < s.size {
			return nil, errShapeShort
		}
		return b[s.size:], nil
	case s.element != nil:
		return w.array(s.element, b)
	case s.text || s.bytes:
		n, b, err := w.length(b, s.text && !w.flexible)
		if err != nil {
			return nil, err
		}
		return b[max(n, 0):], nil
	}
	if s.nullable {
		if len(b) == 0 {
			return nil, errShapeShort
		}
		absent := int8(b[0]) < 0
		if b = b[1:]; absent {
			return b, nil
		}
	}
	var err error
	for i := range s.fields {
		if f := &s.fields[i]; f.tag < 0 && w.version >= f.from && w.version <= f.to {
			if b, err = w.walk(f.shape, b); err != nil {
				return nil, err
			}
		}
	}
	if !w.flexible {
		return b, nil
	}
	return w.tags(s, b)
}

// length reads the length of a string or of bytes, -1 for null, after checking that so many bytes follow.
func (w *shapeWalk) length(b []byte, short bool) (int, []byte, error) {
	n, b, err := w.number(b, short)
	if err == nil && n > len(b) {
		err = errShapeShort
	}
	return n, b, err
}

// number reads a length or a count, -1 for null.
func (w *shapeWalk) number(b []byte, short bool) (int, []byte, error) {
	switch {
	case w.flexible:
		u, k := binary.Uvarint(b)
		if k <= 0 || u > 1<<31 {
			return 0, nil, errShapeCount
		}
		return int(u) - 1, b[k:], nil
	case short:
		if len(b) < 2 {
			return 0, nil, errShapeShort
		}
		return int(int16(binary.BigEndian.Uint16(b))), b[2:], nil
	case len(b) < 4:
		return 0, nil, errShapeShort
	}
	return int(int32(binary.BigEndian.Uint32(b))), b[4:], nil
}

func (w *shapeWalk) array(element *shape, b []byte) ([]byte, error) {
	n, b, err := w.number(b, false)
	if err != nil || n <= 0 {
		return b, err
	}
	if n > len(b) { // no element takes less than a byte
		return nil, errShapeCount
	}
	if w.left -= n; w.left < 0 {
		return nil, errShapeMany
	}
	if element.size > 0 {
		if n > len(b)/element.size {
			return nil, errShapeCount
		}
		return b[n*element.size:], nil
	}
	for range n {
		if b, err = w.walk(element, b); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// tags steps over a section of tagged fields; those that the API knows have a shape as well.
func (w *shapeWalk) tags(s *shape, b []byte) ([]byte, error) {
	count, k := binary.Uvarint(b)
	if k <= 0 || count > uint64(len(b)) {
		return nil, errShapeTags
	}
	if w.left -= int(count); w.left < 0 {
		return nil, errShapeMany
	}
	b = b[k:]
	for range count {
		tag, k := binary.Uvarint(b)
		if k <= 0 {
			return nil, errShapeTags
		}
		b = b[k:]
		size, k := binary.Uvarint(b)
		if k <= 0 || size > uint64(len(b)-k) {
			return nil, errShapeTags
		}
		value := b[k : k+int(size)]
		b = b[k+int(size):]
		for i := range s.fields {
			if f := &s.fields[i]; f.tag >= 0 && uint64(f.tag) == tag {
				if _, err := w.walk(f.shape, value); err != nil {
					return nil, err
				}
			}
		}
	}
	return b, nil
}

// shapeParser reads a line: text is what is left of it.
type shapeParser struct {
	text  string
	named map[string]*shape
}

// primitiveSizes are the sizes of types that have one.
var primitiveSizes = map[string]int{"bool": 1, "i8": 1, "i16": 2, "u16": 2, "i32": 4, "u32": 4, "i64": 8, "f64": 8, "uuid": 16}

// fields reads fields, with commas between them, up to the end or a closing brace.
func (p *shapeParser) fields() (out []field) {
	for {
		p.word() // the field's name
		p.take(" ")
		f := field{shape: p.shape(), to: 1<<15 - 1, tag: -1}
		if p.take("?") {
			if f.shape.fields != nil {
				f.shape.nullable = true
			}
			if p.take("(") { // in some versions
				p.until(")")
			}
		}
		if p.take("<") {
			for attribute := range strings.SplitSeq(p.until(">"), " ") {
				f.attribute(attribute)
			}
		}
		out = append(out, f)
		if !p.take(", ") {
			return out
		}
	}
}

// attribute reads "v3+", "v3-5", "v3" or "tag0"; defaults are of no interest.
func (f *field) attribute(text string) {
	if n, ok := strings.CutPrefix(text, "tag"); ok {
		f.tag, _ = strconv.Atoi(n)
	}
	versions, ok := strings.CutPrefix(text, "v")
	if !ok {
		return
	}
	from, to, isRange := strings.Cut(versions, "-")
	n, err := strconv.ParseInt(strings.TrimSuffix(from, "+"), 10, 16)
	if err != nil {
		panic(fmt.Sprintf("BUG: requestshapes.tsv: versions %q", text))
	}
	if f.from = int16(n); isRange {
		n, _ = strconv.ParseInt(to, 10, 16)
		f.to = int16(n)
	} else if !strings.HasSuffix(from, "+") {
		f.to = f.from
	}
}

// shape reads a type: a primitive one, an array, a struct with or without a name, or the name of one.
func (p *shapeParser) shape() *shape {
	if p.take("[") {
		s := &shape{element: p.shape()}
		p.take("]")
		return s
	}
	name := p.word()
	if p.take("{") {
		s := &shape{fields: p.fields()}
		p.take("}")
		p.named[name] = s
		return s
	}
	switch size := primitiveSizes[name]; {
	case size > 0:
		return &shape{size: size}
	case name == "str":
		return &shape{text: true}
	case name == "bytes" || name == "records":
		return &shape{bytes: true}
	case p.named[name] == nil:
		panic("BUG: requestshapes.tsv: type " + name)
	}
	return p.named[name]
}

func (p *shapeParser) word() string {
	n := strings.IndexFunc(p.text, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9')
	})
	if n < 0 {
		n = len(p.text)
	}
	word := p.text[:n]
	p.text = p.text[n:]
	return word
}

func (p *shapeParser) take(prefix string) bool {
	rest, ok := strings.CutPrefix(p.text, prefix)
	p.text = rest
	return ok
}

func (p *shapeParser) until(end string) string {
	text, rest, _ := strings.Cut(p.text, end)
	p.text = rest
	return text
}
