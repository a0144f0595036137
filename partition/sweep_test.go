package partition_test

import (
	"os"
	"path"
	"testing"

	"github.com/partlog/partlog/internal/vfs"
	"github.com/partlog/partlog/partition"
	"github.com/stretchr/testify/require"
)

// The sweep: a small store, with files of every kind, is damaged in every way that files are: each bit-flipped byte,
// each length, and whole files zeroed, emptied, removed, swapped and replaced. Each is detected (an error with a type, a
// finding, an event), repaired or harmless: no record is ever wrong, none is missing without a word, nothing panics, and
// nothing is allocated because a damaged file says so. PARTLOG_SOAK takes both kinds of flips of every byte of a killed store too.

// sweepBase makes the store: three partitions of two topics, with sealed segments, sums, indexes, producers, a
// compacted journal with entries behind it, and checkpoints if it is closed.
func sweepBase(t *testing.T, mode partition.SyncMode, clean bool) *damageBase {
	g := newRig(vfs.NewCrashMem(vfs.Ext4Like), mode, newLedger())
	require.NoError(t, g.open())
	state := newScriptState(1)
	run := func(sc script) {
		for i := range len(sc) {
			require.NoError(t, steps[sc[i]].run(g, state), "step %d of %s", i+1, sc)
		}
	}
	run("abpiLLotLpiocLLptpi") // closed and opened once, so that there is a snapshot of the journal
	if clean {
		require.NoError(t, g.store.Close())
		g.eachPart(func(_ partition.TopicPartition, p *ledgerPart) { p.durable = p.written })
	}
	g.fault.OnOp(nil)
	b := &damageBase{mode: mode, clean: clean, disk: g.mem.KillClone(), ledger: g.ledger.clone(), now: g.clock.Now()}
	b.files = b.list("/store")
	kinds := map[string]bool{}
	for _, f := range b.files {
		kinds[path.Ext(f)] = true
	}
	for _, kind := range []string{".log", ".index", ".timeindex", ".snapshot", ".sum", ".metadata"} {
		require.True(t, kinds[kind], "no %s among %v", kind, b.files)
	}
	return b
}

func TestDamageToAnyFileIsDetectedRepairedOrHarmless(t *testing.T) {
	for _, clean := range []bool{true, false} {
		b := sweepBase(t, partition.SyncAlways, clean)
		stride := 1
		switch {
		case testing.Short() || raceEnabled:
			stride = 23
		case !clean && soak(t) == 0:
			stride = 5
		}
		d := newDamages(t, b)
		d.try("nothing", func(vfs.FS) error { return nil })
		for _, name := range b.files {
			n := int(b.size(t, name))
			for at := 0; at < n; at += stride {
				d.try(flipText(name, at, 1<<(at%8)), func(m vfs.FS) error { return flip(m, name, at, 1<<(at%8)) })
				if at%3 == 0 || soak(t) > 0 {
					d.try(flipText(name, at, 0xff), func(m vfs.FS) error { return flip(m, name, at, 0xff) })
				}
			}
			for at := 0; at < n; at++ {
				if at%stride == 0 || stride <= 5 && path.Ext(name) == ".log" {
					d.try(cutText(name, at, n), func(m vfs.FS) error { return cut(m, name, int64(at)) })
				}
			}
			d.try(name+" zeroed", func(m vfs.FS) error { return overwrite(m, name, make([]byte, n)) })
			d.try(name+" zeroed from the middle on", func(m vfs.FS) error { return writeAt(m, name, int64(n/2), make([]byte, n-n/2)) })
			d.try(name+" longer by zeros", func(m vfs.FS) error { return cut(m, name, int64(n)+700) })
			d.try(name+" longer by itself", func(m vfs.FS) error { return appendSelf(m, name) })
			d.try(name+" removed", func(m vfs.FS) error { return m.Remove(name) })
			d.try(name+" a directory", func(m vfs.FS) error {
				if err := m.Remove(name); err != nil {
					return err
				}
				return m.Mkdir(name, 0o700)
			})
			d.try(name+" foreign text", func(m vfs.FS) error { return overwrite(m, name, []byte("This is somebody's shopping list.\n")) })
			d.try(name+" foreign, huge numbers", func(m vfs.FS) error { return overwrite(m, name, hugeNumbers) })
			for _, other := range b.files {
				if path.Ext(other) != path.Ext(name) {
					continue
				}
				if other > name {
					d.try(name+" swapped with "+other, func(m vfs.FS) error { return swap(m, name, other) })
				}
				if other != name {
					d.try(name+" a copy of "+other, func(m vfs.FS) error { return copyFile(m, other, name) })
				}
			}
		}
		for _, dir := range []string{"/store", "/store/data", "/store/journal", "/store/data/a-0"} {
			for _, foreign := range []string{"notes.txt", "00000000000000000001.log.bak", ".DS_Store", "a-0.tmp"} {
				d.try(dir+"/"+foreign, func(m vfs.FS) error { return overwrite(m, dir+"/"+foreign, []byte("mine")) })
			}
			if dir != "/store" {
				d.try(dir+" removed", func(m vfs.FS) error { return m.RemoveAll(dir) })
			}
		}
		d.finish()
	}
}

// What flips in a file that the system has already checked is found too: the checks are not only at open.
func TestDamageUnderAnOpenStoreIsNeverServed(t *testing.T) {
	b := sweepBase(t, partition.SyncAlways, true)
	for _, name := range b.files {
		if path.Ext(name) != ".log" {
			continue
		}
		for at := 0; at < int(b.size(t, name)); at += 11 {
			disk := b.disk.KillClone()
			store, err := partition.Open("/store", b.config(disk))
			require.NoError(t, err)
			require.NoError(t, flip(disk, name, at, 0x10))
			var r damageReader
			require.NoError(t, r.read(store, b.ledger), flipText(name, at, 0x10))
			_ = store.Close()
		}
	}
}

// A file shrunk under a live mapping, and one that vanishes, give errors; the other partitions go on.
func TestFilesCutUnderAnOpenStoreCostTheirOwnRecordsOnly(t *testing.T) {
	b := sweepBase(t, partition.SyncAlways, true)
	for _, name := range b.files {
		if path.Ext(name) != ".log" {
			continue
		}
		for _, size := range []int64{0, 1, 60, 100, 500} {
			disk := b.disk.KillClone()
			store, err := partition.Open("/store", b.config(disk))
			require.NoError(t, err)
			var r damageReader
			require.NoError(t, r.read(store, b.ledger))
			require.Zero(t, r.missing)
			if size < b.size(t, name) {
				require.NoError(t, cut(disk, name, size))
			}
			r.late = true
			require.NoError(t, r.read(store, b.ledger), "%s cut to %d under an open store", name, size)
			for tp, n := range r.byPart {
				if path.Base(path.Dir(name)) != tp.Topic+"-"+string(rune('0'+tp.Partition)) {
					require.Zero(t, n, "%s lost records when %s was cut", tp, name)
				}
			}
			_ = store.Close()
		}
	}
}

// hugeNumbers is what a parser might believe to be counts and lengths.
var hugeNumbers = func() []byte {
	b := make([]byte, 4096)
	for i := range b {
		b[i] = []byte{0x7f, 0xff, 0xff, 0xff}[i%4]
	}
	return b
}()

func writeAt(m vfs.FS, name string, at int64, data []byte) error {
	f, err := m.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(data, at); err != nil {
		return err
	}
	return f.Close()
}

func overwrite(m vfs.FS, name string, data []byte) error {
	if err := writeAt(m, name, 0, data); err != nil {
		return err
	}
	return cut(m, name, int64(len(data)))
}

func cut(m vfs.FS, name string, size int64) error {
	f, err := m.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := f.Truncate(size); err != nil {
		return err
	}
	return f.Close()
}

func flip(m vfs.FS, name string, at int, bits byte) error {
	data, err := vfs.ReadFile(m, name, 1<<20)
	if err != nil {
		return err
	}
	return writeAt(m, name, int64(at), []byte{data[at] ^ bits})
}

func appendSelf(m vfs.FS, name string) error {
	data, err := vfs.ReadFile(m, name, 1<<20)
	if err != nil {
		return err
	}
	return writeAt(m, name, int64(len(data)), data)
}

func copyFile(m vfs.FS, from, to string) error {
	data, err := vfs.ReadFile(m, from, 1<<20)
	if err != nil {
		return err
	}
	return overwrite(m, to, data)
}

func swap(m vfs.FS, a, b string) error {
	for _, r := range [][2]string{{a, a + "x"}, {b, a}, {a + "x", b}} {
		if err := m.Rename(r[0], r[1]); err != nil {
			return err
		}
	}
	return nil
}

// Nothing in the file that is appended to says whose it is; the catalogue does, in every mode.
func TestAForeignFileInPlaceOfAnyOtherIsNeverServed(t *testing.T) {
	for _, mode := range tortureModes {
		for _, clean := range []bool{true, false} {
			b := sweepBase(t, mode, clean)
			d := newDamages(t, b)
			for _, name := range b.files {
				for _, other := range b.files {
					if path.Ext(name) == ".log" && path.Ext(other) == ".log" && name != other {
						d.try(name+" swapped with "+other, func(m vfs.FS) error { return swap(m, name, other) })
						d.try(name+" a copy of "+other, func(m vfs.FS) error { return copyFile(m, other, name) })
					}
				}
			}
			d.finish()
		}
	}
}
