package journal

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// referenceSnapshot is the index of the newest snapshot of the reference journal.
const referenceSnapshot = 15

// reference makes a journal with two snapshots, several segments and a tail, and returns its files and its state: after
// Close, and as a kill would have left them.
func reference(t *testing.T, h home) (closed, killed image, c *catalogue) {
	t.Helper()
	j, c, _ := h.mustOpen(t)
	for range 3 {
		add(t, j, c, referenceSnapshot/3)
		require.NoError(t, j.Compact(c.encode()))
	}
	add(t, j, c, 8)
	killed = h.image(t)
	require.NoError(t, j.Close())
	return h.image(t), killed, c
}

// stride thins the sweeps out with -short, as under the race detector.
func stride(i int) bool { return testing.Short() && i%7 != 0 }

// flips calls f with the image once for every byte and each of so many of its bits.
func flips(m image, bits int, f func(label, name string, damaged image)) {
	for name, b := range m {
		for i := range b {
			if stride(i) {
				continue
			}
			for n := range bits {
				d := slices.Clone(b)
				d[i] ^= 1 << ((i + n) % 8)
				f(fmt.Sprintf("%s: byte %d, bit %d", name, i, (i+n)%8), name, m.with(name, d))
			}
		}
	}
}

// cuttings calls f with the image once for every file and every length that it can be cut to, and once without the file.
func cuttings(m image, f func(label, name string, damaged image)) {
	for name, b := range m {
		f(name+" removed", name, m.with(name, nil))
		for n := range b {
			if stride(n) {
				continue
			}
			f(fmt.Sprintf("%s cut at %d", name, n), name, m.with(name, slices.Clone(b[:n])))
		}
	}
}

// checkDamaged opens a damaged image. What comes out is a typed error and an untouched directory, or the state in full;
// lost is how many entries at the end may be missing, because nothing says that they were ever acknowledged.
func checkDamaged(t *testing.T, h home, label string, damaged image, want *catalogue, lost int) (opened bool) {
	t.Helper()
	h.reset(t, damaged)
	j, c, _, err := h.open()
	if err != nil {
		refused(t, err, label)
		h.requireImage(t, damaged, label)
		return false
	}
	require.GreaterOrEqual(t, len(c.lines), len(want.lines)-lost, label)
	require.Equal(t, want.lines[:len(c.lines)], c.lines, label)
	h.usable(t, j, c, label)
	return true
}

func (h home) walks() bool {
	_, ok := newStorage(h.fs, Options{}).(*walStore)
	return ok
}

// tailOf returns the name of the file that is being appended to.
func tailOf(m image) string {
	tail := ""
	for name := range m {
		if kind, _ := parseName(name); kind == entriesFile || kind == segmentFile && name > tail {
			tail = name
		}
	}
	return tail
}

func TestEveryFlippedByteIsDetectedRepairedOrHarmless(t *testing.T) {
	onBoth(t, func(t *testing.T, h home) {
		closed, killed, want := reference(t, h)
		bits := 2
		if h.walks() {
			bits = 1 // real files take their time
		}
		opened, all := 0, 0
		flips(closed, bits, func(label, _ string, damaged image) {
			all++
			if checkDamaged(t, h, label, damaged, want, 0) {
				opened++
			}
		})
		t.Logf("after close: %d of %d open in full, the others are refused", opened, all)
		opened, all = 0, 0
		flips(killed, bits, func(label, name string, damaged image) {
			if name != tailOf(killed) {
				return
			}
			all++
			if checkDamaged(t, h, label, damaged, want, 1) {
				opened++
			}
		})
		require.Positive(t, all)
		t.Logf("after a kill: %d of %d open without at most the last entry, the others are refused", opened, all)
	})
}

func TestEveryFileCutAtEveryLengthIsDetectedRepairedOrHarmless(t *testing.T) {
	onBoth(t, func(t *testing.T, h home) {
		closed, killed, want := reference(t, h)
		opened, all := 0, 0
		cuttings(closed, func(label, _ string, damaged image) {
			all++
			if checkDamaged(t, h, label, damaged, want, 0) {
				opened++
			}
		})
		t.Logf("after close: %d of %d open in full, the others are refused", opened, all)
		// Without the mark of Close nothing tells that whole entries at the end were cut off, only that none is invented.
		cuttings(killed, func(label, _ string, damaged image) {
			checkDamaged(t, h, label, damaged, want, len(want.lines)-referenceSnapshot)
		})
	})
}

// The tail above the last synced entry is what a crash may leave: any part of it, zeros, or garbage.
func TestATornLastEntryIsRepairedAtEveryByte(t *testing.T) {
	onBoth(t, func(t *testing.T, h home) {
		reference(t, h)
		start := h.image(t)
		// As many entries as show each place in a segment: the first, one in the middle, the one that fills it.
		for before := range 6 {
			h.reset(t, start)
			j, c, _ := h.mustOpen(t)
			add(t, j, c, before)
			synced := h.image(t) // what comes now is written and not synced
			add(t, j, c, 1)
			after := h.image(t)
			require.NoError(t, j.Close())
			tail := tailOf(synced)
			old, whole := len(synced[tail]), after[tail]
			require.Greater(t, len(whole), old)
			check := func(b []byte, label string, n int) {
				label = fmt.Sprintf("entry %d %s %d", len(c.lines), label, n)
				require.True(t, checkDamaged(t, h, label, synced.with(tail, b), c, 1), "%s: a torn write must be repaired", label)
			}
			for n := old; n <= len(whole); n++ {
				if stride(n) {
					continue
				}
				torn := whole[:n:n]
				check(slices.Clone(torn), "cut at", n)
				check(append(torn, make([]byte, len(whole)-n)...), "zeros from", n)
				check(append(torn, "PLJe garbage"...), "garbage from", n)
				// The beginning lost and the end written: sectors reach the disk in any order.
				late := slices.Clone(whole)
				clear(late[old:n])
				check(late, "zeros before", n)
			}
		}
	})
}

func TestANewerVersionIsRefusedUntouched(t *testing.T) {
	onBoth(t, func(t *testing.T, h home) {
		closed, _, _ := reference(t, h)
		seen := map[fileKind]bool{}
		for name, b := range closed {
			kind, index := parseName(name)
			b = slices.Clone(b)
			switch {
			case kind == markFile, kind == snapshotFile && index == referenceSnapshot:
				b[4]++
				end := len(b) - crcSize
				binary.BigEndian.PutUint32(b[end:], crc32.Checksum(b[:end], castagnoli))
			case kind == segmentFile && len(b) > 0:
				raiseVersion(b[1:])
			case kind == entriesFile:
				raiseVersion(b)
			default:
				continue
			}
			seen[kind] = true
			m := closed.with(name, b)
			h.reset(t, m)
			for _, o := range []Options{{}, {Salvage: true}, {ReadOnly: true}} {
				o.FS, o.Dir = h.fs, h.dir
				_, _, err := Open(o)
				require.ErrorIs(t, err, ErrNewerVersion, name)
				var e *VersionError
				require.ErrorAs(t, err, &e)
				require.Equal(t, &VersionError{Path: join(h.dir, name), Version: formatVersion + 1, Supported: formatVersion}, e)
				require.NotEmpty(t, e.Error())
				h.requireImage(t, m, name)
			}
		}
		require.Len(t, seen, 3)
	})
}

// raiseVersion gives the first entry a newer version, with a checksum that fits.
func raiseVersion(b []byte) {
	b[4]++
	n := envelopeSize + int(binary.BigEndian.Uint32(b[28:]))
	crc := crc32.Update(crc32.Checksum(b[:32], castagnoli), castagnoli, b[envelopeSize:n])
	binary.BigEndian.PutUint32(b[32:], crc)
}

func TestSalvageKeepsWhatContinuesTheSnapshotAndSetsTheRestAside(t *testing.T) {
	onBoth(t, func(t *testing.T, h home) {
		closed, _, want := reference(t, h)
		declined, salvaged, step := 0, 0, 0
		try := func(label, _ string, damaged image) {
			if step++; step%2 == 0 {
				return // half of them is plenty
			}
			h.reset(t, damaged)
			j, _, _, err := h.open()
			if err == nil {
				require.NoError(t, j.Close())
				return
			}
			refused(t, err, label)
			declined++
			c := &catalogue{}
			o := h.options(c)
			o.Salvage = true
			j, r, err := Open(o)
			require.NoError(t, err, label)
			salvaged++
			require.True(t, r.Lossy, label)
			require.NotEmpty(t, r.Findings, label)
			require.Equal(t, want.lines[:len(c.lines)], c.lines, label)
			require.GreaterOrEqual(t, len(c.lines), int(r.Snapshot), label)
			h.usable(t, j, c, label)
		}
		flips(closed, 1, try)
		cuttings(closed, try)
		t.Logf("%d refused, %d of them salvaged", declined, salvaged)
	})
}

func TestWithoutABeginningThereIsNothingToSalvage(t *testing.T) {
	onBoth(t, func(t *testing.T, h home) {
		closed, _, _ := reference(t, h)
		for name := range closed {
			if kind, _ := parseName(name); kind == snapshotFile {
				closed = closed.with(name, nil)
			}
		}
		h.reset(t, closed)
		for _, salvage := range []bool{false, true} {
			_, _, err := Open(Options{FS: h.fs, Dir: h.dir, Salvage: salvage})
			require.ErrorIs(t, err, errBase)
			e, ok := asCorrupt(err)
			require.True(t, ok)
			require.Equal(t, uint64(1), e.Index)
			h.requireImage(t, closed, "")
		}
	})
}

// An entry that is whole but does not continue the chain was not torn: somebody else wrote it.
func TestAForeignEntryIsRefused(t *testing.T) {
	onBoth(t, func(t *testing.T, h home) {
		closed, _, c := reference(t, h)
		tail, last := tailOf(closed), uint64(len(c.lines))
		for label, e := range map[string]envelope{
			"wrong chain":  {index: last + 1, synced: last, chain: 7},
			"one too low":  {index: last, synced: last - 1},
			"one too high": {index: last + 2, synced: last + 1},
			"zero":         {},
		} {
			b := appendEnvelope(nil, &e)
			if h.walks() {
				b = append(binary.AppendUvarint(nil, uint64(len(b))), b...)
			}
			require.False(t, checkDamaged(t, h, label, closed.with(tail, append(slices.Clone(closed[tail]), b...)), c, 0), label)
		}
	})
}

// Files of another journal, each whole in itself, in the place of ours.
func TestASwappedFileIsRefusedOrHarmless(t *testing.T) {
	onBoth(t, func(t *testing.T, h home) {
		closed, _, want := reference(t, h)
		h.reset(t, nil)
		j, c, _ := h.mustOpen(t)
		foreign := func(n int) {
			for range n {
				e := nextEntry(c)
				e.Kind = 77
				_, err := j.Append(e.Kind, e.Payload)
				require.NoError(t, err)
				require.NoError(t, c.apply(e))
			}
		}
		for range 3 {
			foreign(referenceSnapshot / 3)
			require.NoError(t, j.Compact(c.encode()))
		}
		foreign(8)
		require.NoError(t, j.Close())
		other := h.image(t)
		for name := range closed {
			require.Contains(t, other, name)
			checkDamaged(t, h, name, closed.with(name, other[name]), want, 0)
		}
	})
}
