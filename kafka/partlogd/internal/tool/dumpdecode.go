package tool

import (
	_ "embed"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/partlog/partlog/internal/batch"
)

// recordSchemas are the layouts of the records that coordinators write, a line each: whose log it is, the type of the record (which
// its key begins with), what is laid out, its version, and the fields. They were printed from Apache Kafka 4.1.2's classes; a
// nullable structure is ?{...}, and behind a tagged number is its default if that is not 0.
//
//go:embed recordschemas.tsv
var recordSchemas string

// Whose log is decoded: the first column of recordSchemas.
const (
	decodeOffsets      = "offsets"
	decodeTransactions = "transactions"
	ofConsumers        = "consumer" // what members of a classic group of consumers have told it (ConsumerProtocol)
)

// schemaName names a line of recordSchemas.
type schemaName struct {
	log  string
	kind int16
	what string
}

var schemasOf = sync.OnceValue(func() map[schemaName]map[int16][]field {
	all := map[schemaName]map[int16][]field{}
	for line := range strings.Lines(recordSchemas) {
		columns := strings.Split(strings.TrimSpace(line), "\t")
		kind, err1 := strconv.ParseInt(columns[1], 10, 16)
		version, err2 := strconv.ParseInt(columns[3], 10, 16)
		if err := errors.Join(err1, err2); err != nil {
			panic("BUG: recordschemas.tsv: " + err.Error())
		}
		name := schemaName{columns[0], int16(kind), columns[2]}
		if all[name] == nil {
			all[name] = map[int16][]field{}
		}
		all[name][int16(version)] = parseFields(columns[4])
	}
	return all
})

// field is one field of a layout.
type field struct {
	name   string
	kind   string // "int32", "compact_string", ...; "[" of arrays, "{" of structures, "tags"
	slim   bool   // lengths of an array are varints
	opens  bool   // a structure behind a byte that says whether it is there
	inner  []field
	tag    uint64
	absent string // the value that a tagged field has when it is not there
}

// parseFields reads "name:type name:type".
func parseFields(s string) (fields []field) {
	for s != "" {
		var f field
		f, s = parseField(s)
		fields = append(fields, f)
		s = strings.TrimLeft(s, " ,")
	}
	return fields
}

func parseField(s string) (f field, rest string) {
	if body, ok := strings.CutPrefix(s, "tags("); ok {
		end := closing(body, '(', ')')
		return field{kind: "tags", inner: parseFields(body[:end])}, body[end+1:]
	}
	if i := strings.IndexAny(s, ":="); s[i] == '=' {
		f.tag, _ = strconv.ParseUint(s[:i], 10, 64)
		s = s[i+1:]
	}
	f.name, s, _ = strings.Cut(s, ":")
	s, f.slim = strings.CutPrefix(s, "compact[")
	if f.slim {
		s = "[" + s
	} else if more, ok := strings.CutPrefix(s, "compact?["); ok {
		s, f.slim = "["+more, true
	}
	s, f.opens = strings.CutPrefix(s, "?")
	switch s[0] {
	case '[':
		end := closing(s[1:], '[', ']') + 1
		f.kind, f.inner = "[", parseFields(":"+s[1:end])
		return f, s[end+1:]
	case '{':
		end := closing(s[1:], '{', '}') + 1
		f.kind, f.inner = "{", parseFields(s[1:end])
		return f, s[end+1:]
	}
	end := strings.IndexAny(s+" ", " ,")
	f.kind, f.absent, _ = strings.Cut(s[:end], "=")
	if f.absent == "" {
		f.absent = "0"
	}
	return f, s[end:]
}

// closing is where the bracket ends that was opened before s.
func closing(s string, open, end byte) int {
	depth := 1
	for i := range len(s) {
		switch s[i] {
		case open:
			depth++
		case end:
			if depth--; depth == 0 {
				return i
			}
		}
	}
	panic("BUG: recordschemas.tsv: a bracket is not closed: " + s)
}

// decoded is what Kafka's tool shows of a record of a coordinator: as key, and as payload unless that is empty.
func decoded(log string, r *batch.Record) (key, payload string) {
	key, payload, err := decodeRecord(log, r)
	if unknown, ok := errors.AsType[unknownRecord](err); ok {
		return fmt.Sprintf("Unknown record type %d at offset %d, skipping.", int16(unknown), r.Offset), ""
	}
	if err != nil {
		return fmt.Sprintf("Error at offset %d, skipping. %v", r.Offset, err), ""
	}
	return key, payload
}

// unknownRecord is a type of record that no schema is of.
type unknownRecord int16

func (u unknownRecord) Error() string { return fmt.Sprintf("record type %d", int16(u)) }

var errTruncated = errors.New("the record ends too early")

func decodeRecord(log string, r *batch.Record) (key, payload string, err error) {
	if len(r.Key) < 2 {
		return "", "", errTruncated
	}
	kind := int16(binary.BigEndian.Uint16(r.Key))
	layout, ok := schemasOf()[schemaName{log, kind, "key"}][0]
	if !ok {
		return "", "", unknownRecord(kind)
	}
	d := decoder{rest: r.Key[2:]}
	d.object(layout)
	if d.bad {
		return "", "", errTruncated
	}
	key = fmt.Sprintf(`{"type":"%d","data":%s}`, kind, d.out.String())
	if r.Value == nil {
		return key, "<DELETE>", nil
	}
	if len(r.Value) < 2 {
		return "", "", errTruncated
	}
	version := int16(binary.BigEndian.Uint16(r.Value))
	layout, ok = schemasOf()[schemaName{log, kind, "value"}][version]
	if !ok {
		return "", "", fmt.Errorf("unknown version %d of the value of record type %d", version, kind)
	}
	d = decoder{rest: r.Value[2:]}
	d.object(layout)
	if d.bad {
		return "", "", errTruncated
	}
	return key, fmt.Sprintf(`{"version":"%d","data":%s}`, version, d.out.String()), nil
}

// decoder writes what it reads as JSON, as Kafka's generated converters do.
type decoder struct {
	rest      []byte
	bad       bool // it ended too early
	consumers bool // the group's protocol type is "consumer", so that what its members say can be read
	out       strings.Builder
}

func (d *decoder) object(fields []field) {
	d.out.WriteByte('{')
	first := true
	name := func(s string) {
		if !first {
			d.out.WriteByte(',')
		}
		first = false
		d.out.WriteString(quoted(s))
		d.out.WriteByte(':')
	}
	for i := range fields {
		f := &fields[i]
		if f.kind == "tags" {
			d.tags(f.inner, name)
			continue
		}
		name(f.name)
		d.value(f)
	}
	d.out.WriteByte('}')
}

// tags reads tagged fields, and writes those that are known and not what they are when absent.
func (d *decoder) tags(known []field, name func(string)) {
	there := map[uint64][]byte{}
	for n := d.uvarint(); n > 0 && !d.bad; n-- {
		tag := d.uvarint()
		there[tag] = d.take(int(min(d.uvarint(), 1<<30)))
	}
	for i := range known {
		f := &known[i]
		b, ok := there[f.tag]
		inner := decoder{rest: b}
		if f.opens {
			name(f.name)
			if !ok || inner.uvarint() == 0 {
				d.out.WriteString("null")
			} else {
				inner.object(f.inner)
				d.out.WriteString(inner.out.String())
			}
			d.bad = d.bad || inner.bad
			continue
		}
		if !ok {
			continue
		}
		inner.value(f)
		d.bad = d.bad || inner.bad
		if text := inner.out.String(); text != f.absent && text != `"AAAAAAAAAAAAAAAAAAAAAA"` {
			name(f.name)
			d.out.WriteString(text)
		}
	}
}

func (d *decoder) value(f *field) {
	switch f.kind {
	case "int8":
		d.number(int64(int8(d.fixed(1))))
	case "int16":
		d.number(int64(int16(d.fixed(2))))
	case "uint16":
		d.number(int64(d.fixed(2)))
	case "int32":
		d.number(int64(int32(d.fixed(4))))
	case "int64":
		d.number(int64(d.fixed(8)))
	case "uuid":
		d.out.WriteString(quoted(base64.RawURLEncoding.EncodeToString(d.take(16))))
	case "string", "nullable_string":
		d.text(int(int16(d.fixed(2))), f.name == "protocolType")
	case "compact_string", "compact_nullable_string":
		d.text(int(min(d.uvarint(), 1<<30))-1, f.name == "protocolType")
	case "bytes", "nullable_bytes":
		d.bytes(int(int32(d.fixed(4))), f.name)
	case "compact_bytes":
		d.bytes(int(min(d.uvarint(), 1<<30))-1, f.name)
	case "{":
		if f.opens && int8(d.fixed(1)) < 0 {
			d.out.WriteString("null")
			return
		}
		d.object(f.inner)
	case "[":
		d.array(f)
	default:
		panic("BUG: recordschemas.tsv: type " + f.kind)
	}
}

func (d *decoder) array(f *field) {
	n := 0
	if f.slim {
		n = int(min(d.uvarint(), 1<<30)) - 1
	} else {
		n = int(int32(d.fixed(4)))
	}
	if n < 0 {
		d.out.WriteString("null")
		return
	}
	d.out.WriteByte('[')
	for i := 0; i < n && !d.bad; i++ {
		if i > 0 {
			d.out.WriteByte(',')
		}
		d.value(&f.inner[0])
	}
	d.out.WriteByte(']')
}

func (d *decoder) number(n int64) { d.out.WriteString(strconv.FormatInt(n, 10)) }

func (d *decoder) text(n int, protocol bool) {
	if n < 0 {
		d.out.WriteString("null")
		return
	}
	s := javaText(d.take(n))
	d.consumers = d.consumers || protocol && s == "consumer"
	d.out.WriteString(quoted(s))
}

// bytes writes bytes, or what they say if they are a consumer's subscription or assignment.
func (d *decoder) bytes(n int, name string) {
	if n < 0 {
		d.out.WriteString("null")
		return
	}
	b := d.take(n)
	if d.consumers && len(b) >= 2 {
		if layout, ok := schemasOf()[schemaName{ofConsumers, 0, name}][int16(binary.BigEndian.Uint16(b))]; ok {
			inner := decoder{rest: b[2:]}
			if inner.object(layout); !inner.bad {
				d.out.WriteString(inner.out.String())
				return
			}
		}
	}
	d.out.WriteString(quoted(base64.StdEncoding.EncodeToString(b)))
}

func (d *decoder) take(n int) []byte {
	if n < 0 || n > len(d.rest) {
		d.bad, d.rest = true, nil
		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

// fixed reads a number of n bytes.
func (d *decoder) fixed(n int) (v uint64) {
	for _, b := range d.take(n) {
		v = v<<8 | uint64(b)
	}
	return v
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 {
		d.bad, d.rest = true, nil
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

// quoted is a string as Jackson writes it.
func quoted(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		if i := strings.IndexRune("\"\\\b\f\n\r\t", r); i >= 0 && r != utf8.RuneError {
			b.WriteString([]string{`\"`, `\\`, `\b`, `\f`, `\n`, `\r`, `\t`}[i])
		} else if r < 0x20 {
			fmt.Fprintf(&b, `\u%04X`, r)
		} else {
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
