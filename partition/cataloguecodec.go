package partition

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/partlog/partlog/log"
)

// The payloads of journal entries: varints (zigzag), strings as length and bytes, ids as 16 bytes, booleans as one
// byte. The journal's envelope has checksum, kind and index, so there is none of it here.

var errShortPayload = errors.New("catalogue entry ends too early or is not one")

// encoder appends to buf.
type encoder struct{ buf []byte }

func (e *encoder) int(v int64)  { e.buf = binary.AppendVarint(e.buf, v) }
func (e *encoder) id(v TopicID) { e.buf = append(e.buf, v[:]...) }
func (e *encoder) string(v string) {
	e.int(int64(len(v)))
	e.buf = append(e.buf, v...)
}

func (e *encoder) bool(v bool) {
	b := byte(0)
	if v {
		b = 1
	}
	e.buf = append(e.buf, b)
}

func (e *encoder) strings(m map[string]string) {
	e.int(int64(len(m)))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		e.string(k)
		e.string(m[k])
	}
}

func (e *encoder) mark(m mark) {
	e.id(m.id)
	e.int(int64(m.partition))
	e.int(int64(m.offset))
	e.int(int64(m.start))
	e.imprint(m.imprint)
}

func (e *encoder) imprint(i log.Imprint) {
	for _, v := range [...]int64{int64(i.Base), int64(i.First), int64(i.Next), int64(i.Last), int64(i.Epoch)} {
		e.int(v)
	}
}

// encodeCleaned writes the first dirty offsets, behind all else: a snapshot of a program that knew of none ends before.
func (c *catalogue) encodeCleaned(e *encoder, format int64) {
	var marks []mark
	for _, name := range c.names() {
		t := c.topics[name]
		for i := range t.parts {
			if o := t.parts[i].cleaned; o > 0 {
				marks = append(marks, mark{id: t.id, partition: int32(i), offset: o})
			}
		}
	}
	if len(marks) == 0 && format == catalogueFormat {
		return // as such a program wrote it
	}
	e.int(int64(len(marks)))
	for _, m := range marks {
		e.mark(m)
	}
}

func (c *catalogue) restoreCleaned(d *decoder) {
	if len(d.buf) > 0 && d.err == nil {
		_ = c.marks(d, int(d.int()), func(p *catPart, m mark) { p.cleaned = m.offset }) // the error is d's
	}
}

// topic writes a topic; partitions that are all alike, as those of a new one, take the room of one.
func (e *encoder) topic(t *catTopic) {
	e.string(t.name)
	e.id(t.id)
	e.int(t.created.UnixMilli())
	e.int(int64(t.epoch))
	e.strings(t.overrides)
	e.int(int64(len(t.parts)))
	for i := 0; i < len(t.parts); {
		run := 1
		for i+run < len(t.parts) && alike(t.parts[i+run], t.parts[i]) {
			run++
		}
		e.int(int64(run))
		e.int(int64(t.parts[i].logStart))
		e.int(int64(t.parts[i].recoveryPoint))
		e.int(int64(t.parts[i].end))
		e.imprint(t.parts[i].imprint)
		i += run
	}
}

// alike says whether two partitions are encoded alike; the first dirty offset and the high watermark have places of their own.
func alike(a, b catPart) bool {
	a.cleaned, b.cleaned, a.highWatermark, b.highWatermark = 0, 0, 0, 0
	return a == b
}

// decoder reads from buf. After the first error everything it returns is zero.
type decoder struct {
	buf []byte
	err error
}

func (d *decoder) fail() { d.err, d.buf = errShortPayload, nil }

func (d *decoder) int() int64 {
	v, n := binary.Varint(d.buf)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.buf = d.buf[n:]
	return v
}

func (d *decoder) bytes(n int64) []byte {
	if n < 0 || n > int64(len(d.buf)) {
		d.fail()
		return nil
	}
	b := d.buf[:n]
	d.buf = d.buf[n:]
	return b
}

func (d *decoder) id() (id TopicID) {
	copy(id[:], d.bytes(int64(len(id))))
	return id
}

func (d *decoder) string() string { return string(d.bytes(d.int())) }

func (d *decoder) bool() bool {
	b := d.bytes(1)
	return len(b) == 1 && b[0] == 1
}

func (d *decoder) strings() map[string]string {
	m := map[string]string{}
	for range d.int() {
		k := d.string()
		v := d.string()
		if d.err != nil {
			return nil
		}
		m[k] = v
	}
	return m
}

func (d *decoder) mark() mark {
	m := mark{id: d.id(), partition: int32(d.int()), offset: Offset(d.int()), start: Offset(d.int()), imprint: d.imprint()}
	if m.partition < 0 || m.offset < 0 {
		d.fail()
	}
	return m
}

func (d *decoder) imprint() log.Imprint {
	return log.Imprint{Base: Offset(d.int()), First: uint32(d.int()), Next: Offset(d.int()), Last: uint32(d.int()), Epoch: LeaderEpoch(d.int())}
}

func (d *decoder) topic() *catTopic {
	t := &catTopic{name: d.string(), id: d.id(), created: time.UnixMilli(d.int()), epoch: LeaderEpoch(d.int()), overrides: d.strings()}
	n := d.int()
	if n < 0 || n > maxPartitions {
		d.fail()
	}
	for d.err == nil && int64(len(t.parts)) < n {
		run := d.int()
		p := catPart{logStart: Offset(d.int()), recoveryPoint: Offset(d.int()), end: Offset(d.int()), imprint: d.imprint()}
		if run < 1 || run > n-int64(len(t.parts)) {
			d.fail()
			break
		}
		for range run {
			t.parts = append(t.parts, p)
		}
	}
	if d.err == nil {
		if err := validTopicName(t.name); err != nil {
			d.err = fmt.Errorf("catalogue entry: %w", err)
		}
	}
	return t
}
