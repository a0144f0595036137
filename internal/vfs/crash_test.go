package vfs_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/vfs"
)

// Each test here proves one rule of the crash model by all states that may be found: what must be possible is found, and
// nothing else is.

const page = 4096

// states returns what describe says of every state after a crash, sorted, each once.
func states(t *testing.T, m *vfs.Mem, describe func(after *vfs.Mem) string) []string {
	t.Helper()
	var got []string
	require.True(t, m.EachCrash(20000, func(after *vfs.Mem, label string) bool {
		s := describe(after)
		require.NotEmpty(t, label+s+" ")
		if i, found := slices.BinarySearch(got, s); !found {
			got = slices.Insert(got, i, s)
		}
		return true
	}))
	return got
}

// content returns the file as runs: "a*3 0*5".
func content(fsys vfs.FS, name string) string {
	data, err := vfs.ReadFile(fsys, name, 1<<30)
	if err != nil {
		return "none"
	}
	var runs []string
	for len(data) > 0 {
		n := 1
		for n < len(data) && data[n] == data[0] {
			n++
		}
		c := string(data[:1])
		if c == "\x00" {
			c = "0"
		}
		runs = append(runs, fmt.Sprintf("%s*%d", c, n))
		data = data[n:]
	}
	if runs == nil {
		return "empty"
	}
	return strings.Join(runs, " ")
}

func fill(t *testing.T, f vfs.File, c string, off, n int64) {
	t.Helper()
	_, err := f.WriteAt([]byte(strings.Repeat(c, int(n))), off)
	require.NoError(t, err)
}

// durableFile is a file that is on disk, name and all.
func durableFile(t *testing.T, m *vfs.Mem, name string, size int64) vfs.File {
	t.Helper()
	f := create(t, m, name, "")
	if size > 0 {
		fill(t, f, "a", 0, size)
	}
	require.NoError(t, f.Sync())
	require.NoError(t, m.SyncDir("/"))
	return f
}

func TestSyncedDataSurvivesEveryCrash(t *testing.T) {
	m := vfs.NewCrashMem(vfs.Strict)
	durableFile(t, m, "f", 5000)
	require.Equal(t, []string{"a*5000"}, states(t, m, func(after *vfs.Mem) string { return content(after, "f") }))
}

func TestUnsyncedPagesAreKeptOrLostEachOnItsOwn(t *testing.T) {
	m := vfs.NewCrashMem(vfs.Strict)
	f := durableFile(t, m, "f", 3*page)
	fill(t, f, "b", 0, 10)
	fill(t, f, "c", 2*page, 10)
	require.Equal(t, []string{
		"a*12288",
		"a*8192 c*10 a*4086",
		"b*10 a*12278",
		"b*10 a*8182 c*10 a*4086",
	}, states(t, m, func(after *vfs.Mem) string { return content(after, "f") }))
}

func TestAnyVersionOfAPageMayBeFound(t *testing.T) {
	m := vfs.NewCrashMem(vfs.Strict)
	f := durableFile(t, m, "f", 20)
	for _, c := range []string{"b", "c", "d"} {
		fill(t, f, c, 0, 5)
	}
	require.Equal(t, []string{"a*20", "b*5 a*15", "c*5 a*15", "d*5 a*15"},
		states(t, m, func(after *vfs.Mem) string { return content(after, "f") }))
}

func TestPageIsTornBetweenSectors(t *testing.T) {
	m := vfs.NewCrashMem(vfs.Strict)
	f := durableFile(t, m, "f", page)
	fill(t, f, "b", 500, 600) // the end of the first sector, the second, the beginning of the third
	require.Equal(t, []string{
		"a*1024 b*76 a*2996",
		"a*4096",
		"a*500 b*12 a*3584",
		"a*500 b*12 a*512 b*76 a*2996",
		"a*500 b*524 a*3072",
		"a*500 b*600 a*2996",
		"a*512 b*512 a*3072",
		"a*512 b*588 a*2996",
	}, states(t, m, func(after *vfs.Mem) string { return content(after, "f") }))
}

// What is remembered of a page, and of a size, is bounded; the durable state and the newest are always among it.
func TestMuchUnsyncedIsRememberedInPart(t *testing.T) {
	m := vfs.NewCrashMem(vfs.Strict)
	f := durableFile(t, m, "f", 10)
	legal := map[string]bool{content(m, "f"): true}
	for i := range int64(1000) {
		fill(t, f, string(rune('b'+i%20)), 0, 10)
		legal[content(m, "f")] = true
	}
	got := states(t, m, func(after *vfs.Mem) string { return content(after, "f") })
	for _, s := range got {
		require.True(t, legal[s])
	}
	require.Contains(t, got, "a*10")
	require.Contains(t, got, content(m, "f"))
	require.Greater(t, len(got), 10)

	for i := range int64(1000) {
		require.NoError(t, f.Truncate(20+i))
	}
	sizes := states(t, m, func(after *vfs.Mem) string {
		info, err := after.Stat("f")
		require.NoError(t, err)
		return fmt.Sprint(info.Size())
	})
	require.Contains(t, sizes, "10")
	require.Contains(t, sizes, "1019")
	require.Less(t, len(sizes), 300)
}

// Three writes to three sectors of a page: the page went to the disk once, and only its last sector made it.
func TestPageIsTornOverAnyOlderVersion(t *testing.T) {
	m := vfs.NewCrashMem(vfs.Strict)
	f := durableFile(t, m, "f", page)
	for i, c := range []string{"b", "c", "d"} {
		fill(t, f, c, int64(i)*512, 512)
	}
	got := states(t, m, func(after *vfs.Mem) string { return content(after, "f") })
	require.Len(t, got, 8)
	require.Contains(t, got, "a*1024 d*512 a*2560")
	require.Contains(t, got, "a*512 c*512 a*3072")
	require.Contains(t, got, "b*512 a*512 d*512 a*2560")
}

// A page of which all sectors change: the first ones, the last ones, and all but one.
func TestWholePageIsTornAtEverySector(t *testing.T) {
	m := vfs.NewCrashMem(vfs.Strict)
	f := durableFile(t, m, "f", page)
	fill(t, f, "b", 0, page)
	got := states(t, m, func(after *vfs.Mem) string { return content(after, "f") })
	for i := 1; i < 8; i++ {
		require.Contains(t, got, fmt.Sprintf("b*%d a*%d", i*512, (8-i)*512))
		require.Contains(t, got, fmt.Sprintf("a*%d b*%d", i*512, (8-i)*512))
	}
	require.Contains(t, got, "b*512 a*512 b*3072")
	require.Len(t, got, 2+7+7+6)
}

func TestSizeIsIndependentOfData(t *testing.T) {
	m := vfs.NewCrashMem(vfs.Strict)
	f := durableFile(t, m, "f", 10)
	fill(t, f, "b", 10, 10)
	require.Equal(t, []string{"a*10", "a*10 0*10", "a*10 b*10"},
		states(t, m, func(after *vfs.Mem) string { return content(after, "f") }))
}

func TestGrowingWriteMayStopAtAnyPageBoundary(t *testing.T) {
	m := vfs.NewCrashMem(vfs.Strict)
	f := durableFile(t, m, "f", 0)
	fill(t, f, "b", 0, 2*page+100)
	sizes := states(t, m, func(after *vfs.Mem) string {
		info, err := after.Stat("f")
		require.NoError(t, err)
		return fmt.Sprintf("%5d", info.Size())
	})
	require.Equal(t, []string{"    0", " 4096", " 8192", " 8292"}, sizes)
}

func TestTruncationMayOrMayNotHaveHappened(t *testing.T) {
	m := vfs.NewCrashMem(vfs.Strict)
	f := durableFile(t, m, "f", 20)
	require.NoError(t, f.Truncate(5))
	got := states(t, m, func(after *vfs.Mem) string { return content(after, "f") })
	require.Contains(t, got, "a*20")
	require.Contains(t, got, "a*5")
	require.NoError(t, f.Sync())
	require.Equal(t, []string{"a*5"}, states(t, m, func(after *vfs.Mem) string { return content(after, "f") }))
}

// What was cut off does not come back when a clone grows its file again.
func TestNothingIsFoundBehindTheSize(t *testing.T) {
	m := vfs.NewCrashMem(vfs.Strict)
	f := durableFile(t, m, "f", 10)
	fill(t, f, "b", 10, 10)
	states(t, m, func(after *vfs.Mem) string {
		f, err := after.OpenFile("f", os.O_RDWR, 0)
		require.NoError(t, err)
		size, err := f.Size()
		require.NoError(t, err)
		require.NoError(t, f.Truncate(30))
		p := make([]byte, 30-size)
		_, err = f.ReadAt(p, size)
		require.NoError(t, err)
		require.Equal(t, make([]byte, 30-size), p)
		return ""
	})
}

func TestNewNameIsNotDurableBeforeSyncDir(t *testing.T) {
	m := vfs.NewCrashMem(vfs.Strict)
	f := create(t, m, "f", "abc")
	require.NoError(t, f.Sync())
	describe := func(after *vfs.Mem) string { return content(after, "f") }
	require.Equal(t, []string{"a*1 b*1 c*1", "none"}, states(t, m, describe), "its own sync keeps the data, not the name")
	require.NoError(t, m.SyncDir("/"))
	require.Equal(t, []string{"a*1 b*1 c*1"}, states(t, m, describe))
}

func TestNameMayBeDurableWithoutData(t *testing.T) {
	m := vfs.NewCrashMem(vfs.Strict)
	create(t, m, "f", "abc")
	require.NoError(t, m.SyncDir("/"))
	require.Equal(t, []string{"0*3", "a*1 b*1 c*1", "empty"},
		states(t, m, func(after *vfs.Mem) string { return content(after, "f") }))
}

func both(after *vfs.Mem) string { return content(after, "f") + ", " + content(after, "g") }

func TestRenameIsNotDurableBeforeSyncDirAndNeverHalfDone(t *testing.T) {
	m := vfs.NewCrashMem(vfs.Strict)
	durableFile(t, m, "f", 3)
	require.NoError(t, m.Rename("f", "g"))
	require.Equal(t, []string{"a*3, none", "none, a*3"}, states(t, m, both))
	require.NoError(t, m.SyncDir("/"))
	require.Equal(t, []string{"none, a*3"}, states(t, m, both))
}

func TestUnlinkMayNotHaveHappened(t *testing.T) {
	m := vfs.NewCrashMem(vfs.Strict)
	durableFile(t, m, "f", 3)
	require.NoError(t, m.Remove("f"))
	create(t, m, "f", "")
	require.Equal(t, []string{"a*3, none", "empty, none", "none, none"}, states(t, m, both))
}

func TestReplacedFileIsFoundOldOrNew(t *testing.T) {
	m := vfs.NewCrashMem(vfs.Strict)
	durableFile(t, m, "f", 3)
	require.NoError(t, vfs.WriteFileAtomic(m, "f", []byte("bb")))
	require.Equal(t, []string{"b*2"}, states(t, m, func(after *vfs.Mem) string { return content(after, "f") }))

	// Without the sync of the directory it is one or the other, without that of the file anything.
	m = vfs.NewCrashMem(vfs.Strict)
	durableFile(t, m, "f", 3)
	tmp := create(t, m, "tmp", "bb")
	require.NoError(t, tmp.Sync())
	require.NoError(t, m.Rename("tmp", "f"))
	require.Equal(t, []string{"a*3", "b*2"}, states(t, m, func(after *vfs.Mem) string { return content(after, "f") }))
	fill(t, tmp, "c", 0, 1)
	require.Equal(t, []string{"a*3", "b*2", "c*1 b*1"},
		states(t, m, func(after *vfs.Mem) string { return content(after, "f") }))
}

func TestFileMovedTwiceHasOneName(t *testing.T) {
	m := vfs.NewCrashMem(vfs.Strict)
	durableFile(t, m, "f", 3)
	require.NoError(t, m.Rename("f", "h"))
	require.NoError(t, m.Rename("h", "g"))
	where := func(after *vfs.Mem) string { return strings.Join(names(t, after, "/"), " ") }
	require.Equal(t, []string{"f", "g", "h"}, states(t, m, where))
}

func TestMoveBetweenDirectoriesNeverLosesTheFile(t *testing.T) {
	setUp := func() *vfs.Mem {
		m := vfs.NewCrashMem(vfs.Strict)
		require.NoError(t, m.MkdirAll("d", 0o700))
		durableFile(t, m, "f", 3)
		require.NoError(t, m.Rename("f", "d/f"))
		return m
	}
	where := func(after *vfs.Mem) string { return content(after, "f") + ", " + content(after, "d/f") }
	m := setUp()
	require.Equal(t, []string{"a*3, none", "none, a*3"}, states(t, m, where))
	require.NoError(t, m.SyncDir("d"))
	require.Equal(t, []string{"a*3, a*3", "none, a*3"}, states(t, m, where), "the removal is in the other directory")
	require.NoError(t, m.SyncDir("/"))
	require.Equal(t, []string{"none, a*3"}, states(t, m, where))
	m = setUp()
	require.NoError(t, m.SyncDir("/"))
	require.Equal(t, []string{"none, a*3"}, states(t, m, where))
}

func TestDirectoryVanishesWithAllBelowIt(t *testing.T) {
	m := vfs.NewCrashMem(vfs.Strict)
	require.NoError(t, m.Mkdir("d", 0o700))
	f := create(t, m, "d/f", "abc")
	require.NoError(t, f.Sync())
	require.NoError(t, m.SyncDir("d"))
	describe := func(after *vfs.Mem) string { return content(after, "d/f") }
	require.Equal(t, []string{"a*1 b*1 c*1", "none"}, states(t, m, describe))
	require.NoError(t, m.SyncDir("/"))
	require.Equal(t, []string{"a*1 b*1 c*1"}, states(t, m, describe))
	require.NoError(t, m.Rename("d", "e"))
	require.NoError(t, m.RemoveAll("e"))
	require.Contains(t, states(t, m, describe), "a*1 b*1 c*1", "neither is durable")
	require.NoError(t, m.SyncDir("/"))
	require.Equal(t, []string{"none"}, states(t, m, describe))
}

func TestExt4LikeKeepsNamesInOrder(t *testing.T) {
	for profile, want := range map[vfs.Profile][]string{
		vfs.Strict:   {"", "f", "f g", "g"},
		vfs.Ext4Like: {"", "f", "f g"},
	} {
		m := vfs.NewCrashMem(profile)
		create(t, m, "f", "")
		create(t, m, "g", "")
		where := func(after *vfs.Mem) string { return strings.Join(names(t, after, "/"), " ") }
		require.Equal(t, want, states(t, m, where))
	}
}

func TestExt4LikeSyncOfANewFileKeepsItsName(t *testing.T) {
	m := vfs.NewCrashMem(vfs.Ext4Like)
	f := create(t, m, "f", "abc")
	require.NoError(t, f.Sync())
	require.Equal(t, []string{"a*1 b*1 c*1"}, states(t, m, func(after *vfs.Mem) string { return content(after, "f") }))
	create(t, m, "g", "")
	fill(t, f, "x", 0, 1)
	require.NoError(t, f.Sync())
	require.Len(t, states(t, m, both), 2, "data alone says nothing about names")
}

func TestExt4LikeShowsNoHoleWhereTheFileGrew(t *testing.T) {
	m := vfs.NewCrashMem(vfs.Ext4Like)
	f := durableFile(t, m, "f", 0)
	fill(t, f, "b", 0, page+10)
	got := states(t, m, func(after *vfs.Mem) string { return content(after, "f") })
	require.Equal(t, []string{"b*4096", "b*4106", "empty"}, got)
}

func TestKillCloneHasAllThatWasWrittenAndIsStillNotDurable(t *testing.T) {
	m := vfs.NewCrashMem(vfs.Strict)
	f := durableFile(t, m, "f", 3)
	fill(t, f, "b", 0, 5)
	require.NoError(t, m.Rename("f", "g"))
	held, err := m.Lock("lock")
	require.NoError(t, err)
	killed := m.KillClone()
	fill(t, f, "c", 0, 5)
	require.Equal(t, "none, b*5", both(killed))
	require.Equal(t, "none, c*5", both(m))
	_, err = killed.Lock("lock")
	require.NoError(t, err, "locks go with the process")
	require.NoError(t, held.Close())
	got := states(t, killed, both)
	require.Contains(t, got, "a*3, none")
	require.Contains(t, got, "none, b*5")
	require.NotContains(t, strings.Join(got, "; "), "c*")

	// The clone goes its own way.
	g, err := killed.OpenFile("g", os.O_RDWR, 0)
	require.NoError(t, err)
	fill(t, g, "d", 4, 1)
	require.NoError(t, g.Sync())
	require.NoError(t, killed.SyncDir("/"))
	require.Equal(t, []string{"none, b*4 d*1"}, states(t, killed, both))
	require.Equal(t, "none, c*5", both(m))
}

func TestCrashClonesAreIndependentAndMayCrashAgain(t *testing.T) {
	m := vfs.NewCrashMem(vfs.Strict)
	f := durableFile(t, m, "f", 2*page)
	before := m.Hash()
	a, b := m.CrashClone(rand.New(rand.NewPCG(1, 1))), m.CrashClone(rand.New(rand.NewPCG(2, 2)))
	require.Equal(t, before, a.Hash())
	g, err := a.OpenFile("f", os.O_RDWR, 0)
	require.NoError(t, err)
	fill(t, g, "x", page, 3)
	require.Equal(t, "a*4096 x*3 a*4093", content(a, "f"))
	require.Len(t, states(t, a, func(after *vfs.Mem) string { return content(after, "f") }), 2)
	require.NoError(t, g.Sync())
	fill(t, f, "y", 0, 1)
	require.Equal(t, "a*8192", content(b, "f"))
	require.Equal(t, "y*1 a*8191", content(m, "f"))
	require.Equal(t, "a*4096 x*3 a*4093", content(a, "f"))
	require.Equal(t, before, b.Hash())
	require.NotEqual(t, before, a.Hash())
}

// Random clones are among the states that the enumeration finds, and between them find all.
func TestRandomClonesAreTheEnumeratedStates(t *testing.T) {
	for _, profile := range []vfs.Profile{vfs.Strict, vfs.Ext4Like} {
		m := vfs.NewCrashMem(profile)
		f := durableFile(t, m, "f", page)
		fill(t, f, "b", 1000, 100)
		fill(t, f, "c", page-10, 20)
		require.NoError(t, m.Rename("f", "g"))
		create(t, m, "h", "new")
		legal := map[uint64]string{}
		n := 0
		require.True(t, m.EachCrash(100000, func(after *vfs.Mem, label string) bool {
			legal[after.Hash()] = label
			n++
			return true
		}))
		found := map[uint64]bool{}
		rng := rand.New(rand.NewPCG(7, 7))
		for i := 0; i < 1000*n && len(found) < len(legal); i++ {
			h := m.CrashClone(rng).Hash()
			require.Contains(t, legal, h)
			found[h] = true
		}
		require.Len(t, found, len(legal))
	}
}

func TestEachCrashSamplesWhatIsTooMuch(t *testing.T) {
	m := vfs.NewCrashMem(vfs.Strict)
	f := durableFile(t, m, "f", 0)
	for i := range int64(100) {
		fill(t, f, "b", i*page, page)
	}
	run := func() (hashes []uint64) {
		require.False(t, m.EachCrash(50, func(after *vfs.Mem, label string) bool {
			hashes = append(hashes, after.Hash())
			return true
		}))
		return hashes
	}
	first := run()
	require.Len(t, first, 50)
	require.Equal(t, first, run(), "the same sample each time")
	require.Equal(t, m.Hash(), first[1], "all of it is among them")
	n := 0
	m.EachCrash(50, func(*vfs.Mem, string) bool { n++; return n < 3 })
	require.Equal(t, 3, n)
}

func TestHashTellsContentsAndNamesApart(t *testing.T) {
	build := func(m *vfs.Mem, content string) uint64 {
		require.NoError(t, m.MkdirAll("d/e", 0o700))
		create(t, m, "d/f", content)
		return m.Hash()
	}
	a := build(vfs.NewCrashMem(vfs.Strict), "abc")
	require.Equal(t, a, build(vfs.NewMem(), "abc"), "however it is kept")
	require.NotEqual(t, a, build(vfs.NewMem(), "abd"))
	require.NotEqual(t, a, build(vfs.NewMem(), "abc\x00"))
	m := vfs.NewMem()
	build(m, "abc")
	require.NoError(t, m.Rename("d/f", "d/e/f"))
	require.NotEqual(t, a, m.Hash())
	big, hole := vfs.NewMem(), vfs.NewCrashMem(vfs.Strict)
	create(t, big, "f", string(make([]byte, 9000)))
	require.NoError(t, create(t, hole, "f", "").Truncate(9000))
	require.Equal(t, big.Hash(), hole.Hash(), "a hole is zeros")
}

func TestCloneOfAMemWithoutHistoryPanics(t *testing.T) {
	require.Panics(t, func() { vfs.NewMem().KillClone() })
	require.Panics(t, func() { vfs.NewMem().CrashClone(rand.New(rand.NewPCG(1, 1))) })
}

func TestReadingAnUnmappedRegionShows(t *testing.T) {
	m := vfs.NewCrashMem(vfs.Strict)
	f := durableFile(t, m, "f", 10)
	r, err := f.Map(10)
	require.NoError(t, err)
	kept := r.Bytes()
	require.Equal(t, byte('a'), kept[3])
	require.NoError(t, r.Unmap())
	require.Equal(t, byte(0xDB), kept[3])
}

// All writes, truncations and syncs of a long random run give the same contents with and without history, and the
// durable state is that of the last sync.
func TestHistoryChangesNothingThatTheProcessSees(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	plain, crashing := vfs.NewMem(), vfs.NewCrashMem(vfs.Strict)
	a, b := create(t, plain, "f", ""), create(t, crashing, "f", "")
	region, err := b.Map(64 << 10)
	require.NoError(t, err)
	require.NoError(t, crashing.SyncDir("/"))
	durable := crashing.Hash()
	for range 3000 {
		switch rng.IntN(10) {
		case 0:
			size := rng.Int64N(60 << 10)
			require.NoError(t, a.Truncate(size))
			require.NoError(t, b.Truncate(size))
		case 1:
			require.NoError(t, b.Sync())
			durable = crashing.Hash()
		case 2:
			crashing = crashing.KillClone()
			b, err = crashing.OpenFile("f", os.O_RDWR, 0)
			require.NoError(t, err)
			region, err = b.Map(64 << 10)
			require.NoError(t, err)
		default:
			p := make([]byte, rng.IntN(10000))
			for i := range p {
				p[i] = byte(rng.Uint32())
			}
			off := rng.Int64N(50 << 10)
			_, err = a.WriteAt(p, off)
			require.NoError(t, err)
			_, err = b.WriteAt(p, off)
			require.NoError(t, err)
		}
		require.Equal(t, plain.Hash(), crashing.Hash())
		whole := read(t, crashing, "f")
		require.Equal(t, read(t, plain, "f"), whole)
		require.Equal(t, whole, string(region.Bytes()[:len(whole)]))
		crashing.EachCrash(1, func(after *vfs.Mem, _ string) bool {
			require.Equal(t, durable, after.Hash())
			return true
		})
	}
}

// Under -race: clones are taken, used and hashed while the original is written to; their pages are shared.
func TestClonesAreTakenWhileOthersWrite(t *testing.T) {
	m := vfs.NewCrashMem(vfs.Strict)
	f := durableFile(t, m, "f", 4*page)
	var wg sync.WaitGroup
	for i := range uint64(4) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(i, i))
			for range 100 {
				if _, err := f.WriteAt([]byte("xyz"), rng.Int64N(4*page)); err != nil {
					t.Error(err)
				}
				for _, clone := range []*vfs.Mem{m.CrashClone(rng), m.KillClone()} {
					g, err := clone.OpenFile("f", os.O_RDWR, 0)
					if err != nil {
						t.Error(err)
						return
					}
					if _, err := g.WriteAt([]byte("mine"), rng.Int64N(4*page)); err != nil {
						t.Error(err)
					}
					clone.Hash()
					clone.CrashClone(rng).Hash()
				}
				if err := f.Sync(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
