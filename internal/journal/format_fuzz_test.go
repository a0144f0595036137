package journal

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/vfs"
)

func FuzzDecodeEnvelope(f *testing.F) {
	f.Add([]byte{})
	f.Add(appendEnvelope(nil, &envelope{}))
	f.Add(appendEnvelope(nil, &envelope{kind: 1, index: 7, synced: 6, chain: 5, payload: []byte("payload")}))
	f.Add(append(appendEnvelope(nil, &envelope{index: 1}), "rest"...))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := decodeEnvelope(b)
		if err != nil {
			require.Zero(t, e.size()-envelopeSize)
			return
		}
		crc := e.crc
		again := appendEnvelope(nil, &e)
		require.Equal(t, b[:e.size()], again)
		require.Equal(t, crc, e.crc)
	})
}

func FuzzDecodeSnapshot(f *testing.F) {
	f.Add([]byte{})
	f.Add(appendSnapshot(nil, snapshot{}))
	f.Add(appendSnapshot(nil, snapshot{index: 7, chain: 5, payload: []byte("payload")}))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeSnapshot(b)
		if err == nil {
			require.Equal(t, b, appendSnapshot(nil, s))
		}
	})
}

func FuzzDecodeMark(f *testing.F) {
	f.Add([]byte{})
	f.Add(mark{}.encode())
	f.Add(mark{7, 5}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMark(b)
		if err == nil {
			require.Equal(t, b, m.encode())
		}
	})
}

// The pieces of a section are the section, in order and without overlap, whatever is in it.
func FuzzPieces(f *testing.F) {
	one := appendEnvelope(nil, &envelope{index: 1, payload: []byte("one")})
	framed := append(binary.AppendUvarint(nil, uint64(len(one))), one...)
	f.Add([]byte{}, true)
	f.Add(one, false)
	f.Add(framed, true)
	f.Add(append(append(bytes.Clone(framed), "garbage"...), framed...), true)
	f.Add(append(append(bytes.Clone(one), "PLJe"...), one...), false)
	f.Fuzz(func(t *testing.T, b []byte, framed bool) {
		s := section{data: b, framed: framed}
		list, at, err := s.pieces()
		if err != nil {
			require.ErrorIs(t, err, errNewer)
			require.Equal(t, envelopeMagic, string(b[at:at+4]))
			return
		}
		end := 0
		for _, p := range list {
			require.Equal(t, end, p.start)
			if p.gap == nil { // a gap may be the missing frame alone
				require.Greater(t, p.end, p.start)
			}
			end = p.end
			if p.gap == nil {
				require.True(t, bytes.HasSuffix(b[:p.end], p.entry.payload))
			}
		}
		require.Equal(t, len(b), end)
	})
}

// Whatever the files hold, Open ends in a journal that works or in a typed error that leaves them as they are.
func FuzzOpen(f *testing.F) {
	h := home{vfs.NewMem(), "/journal"}
	j, c, _, err := h.open()
	if err != nil {
		f.Fatal(err)
	}
	for range 3 {
		for range 3 {
			e := nextEntry(c)
			if _, err := j.Append(e.Kind, e.Payload); err != nil {
				f.Fatal(err)
			}
			_ = c.apply(e)
		}
		if err := j.Compact(c.encode()); err != nil {
			f.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		f.Fatal(err)
	}
	file := func(name string) []byte {
		b, err := readFile(h.fs, join(h.dir, name), false)
		if err != nil {
			f.Fatal(err)
		}
		return b
	}
	f.Add(file(entriesName), file(snapshotName(9)), file(snapshotName(6)), file(markName))
	f.Add(file(entriesName), []byte{}, file(snapshotName(6)), file(markName))
	f.Add([]byte{}, []byte{}, []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, entries, newest, older, last []byte) {
		h := home{vfs.NewMem(), "/journal"}
		m := image{entriesName: entries, snapshotName(9): newest, snapshotName(6): older, markName: last}
		h.reset(t, m)
		var lines []string
		o := Options{FS: h.fs, Dir: h.dir, Replay: func(e Entry) error {
			lines = append(lines, string(e.Payload))
			return nil
		}}
		j, _, err := Open(o)
		if err != nil {
			refused(t, err)
			h.requireImage(t, m, "")
			return
		}
		index, err := j.Append(1, []byte("more"))
		require.NoError(t, err)
		require.NoError(t, j.Close())
		before := append(lines, "more")
		lines = nil
		j, r, err := Open(o)
		require.NoError(t, err)
		require.Equal(t, index, r.Last)
		require.Equal(t, strings.Join(before, "\n"), strings.Join(lines, "\n"))
		require.NoError(t, j.Close())
	})
}
