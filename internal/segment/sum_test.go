package segment

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/vfs"
)

// sealed is a segment from offset 100 on: a log file of three blocks, the last
// short, and two indexes, one of them empty.
func sealed(t testing.TB) (*vfs.Mem, SumID, map[string][]byte) {
	mem := vfs.NewMem()
	require.NoError(t, mem.MkdirAll("d", 0o700))
	files := map[string][]byte{
		LogName(100):       bytes.Repeat([]byte("0123456789abcde"), 10_000),
		IndexName(100):     bytes.Repeat([]byte{1, 2, 3, 4, 5, 6, 7, 8}, 40),
		TimeIndexName(100): {},
	}
	for name, data := range files {
		require.NoError(t, vfs.WriteFileAtomic(mem, "d/"+name, data))
	}
	return mem, SumID{[16]byte{1, 2, 3}, 7, 100}, files
}

func TestSumVerifiesTheFilesItWasBuiltFrom(t *testing.T) {
	mem, id, files := sealed(t)
	built, err := BuildSum(mem, "d", id, SumFiles(100))
	require.NoError(t, err)
	require.NoError(t, built.Write(mem, "d"))
	loaded, err := LoadSum(mem, "d", id)
	require.NoError(t, err)
	require.Equal(t, built.AppendTo(nil), loaded.AppendTo(nil))
	require.Len(t, loaded.Files, 3, "what is not there is not covered")
	require.Nil(t, loaded.File(SnapshotName(100)))

	log := loaded.File(LogName(100))
	require.Equal(t, int64(150_000), log.Size)
	require.Len(t, log.Blocks, 3)
	data := files[LogName(100)]
	require.NoError(t, log.VerifyBlock(0, data[:SumBlockSize]))
	require.NoError(t, log.VerifyBlock(2, data[2*SumBlockSize:]))
	for i, block := range map[int][]byte{0: data[1 : 1+SumBlockSize], 1: data[:SumBlockSize], 2: data[2*SumBlockSize : len(data)-1], 3: nil, -1: nil} {
		require.ErrorIs(t, log.VerifyBlock(i, block), ErrCorrupt, i)
	}
	require.NoError(t, loaded.VerifyAll(mem, "d", func(e *SumError) error { return e }))
}

func TestVerifyAllNamesEveryDifference(t *testing.T) {
	mem, id, files := sealed(t)
	sum, err := BuildSum(mem, "d", id, SumFiles(100))
	require.NoError(t, err)
	changed := bytes.Clone(files[LogName(100)])
	changed[0] ^= 1
	changed[140_000] ^= 0x80
	require.NoError(t, vfs.WriteFileAtomic(mem, "d/"+LogName(100), changed))
	require.NoError(t, vfs.WriteFileAtomic(mem, "d/"+IndexName(100), files[IndexName(100)][:100]))
	require.NoError(t, mem.Remove("d/"+TimeIndexName(100)))

	type found struct {
		path           string
		position, size int64
	}
	var got []found
	report := func(e *SumError) error {
		require.ErrorIs(t, e, ErrCorrupt)
		got = append(got, found{e.Path, e.Position, e.Size})
		return nil
	}
	require.NoError(t, sum.VerifyAll(mem, "d", report))
	require.Equal(t, []found{
		{"d/" + LogName(100), 0, SumBlockSize}, {"d/" + LogName(100), 2 * SumBlockSize, 150_000 - 2*SumBlockSize},
		{"d/" + IndexName(100), 100, 0}, {"d/" + TimeIndexName(100), 0, 0},
	}, got)

	stop := errors.New("enough")
	n := 0
	require.ErrorIs(t, sum.VerifyAll(mem, "d", func(*SumError) error { n++; return stop }), stop)
	require.Equal(t, 1, n)
}

func TestEveryChangedByteOfASealedFileIsFound(t *testing.T) {
	mem, id, files := sealed(t)
	sum, err := BuildSum(mem, "d", id, SumFiles(100))
	require.NoError(t, err)
	f := sum.File(IndexName(100))
	for i := range files[IndexName(100)] {
		data := bytes.Clone(files[IndexName(100)])
		data[i] ^= 4
		require.Error(t, f.VerifyBlock(0, data))
	}
}

func TestSumOfAnotherSegmentIsCorrupt(t *testing.T) {
	mem, id, _ := sealed(t)
	sum, err := BuildSum(mem, "d", id, SumFiles(100))
	require.NoError(t, err)
	require.NoError(t, sum.Write(mem, "d"))
	for _, other := range []SumID{{[16]byte{9}, 7, 100}, {id.TopicID, 8, 100}} {
		_, err := LoadSum(mem, "d", other)
		require.ErrorIs(t, err, ErrCorrupt)
	}
	require.NoError(t, mem.Rename("d/"+SumName(100), "d/"+SumName(200)))
	_, err = LoadSum(mem, "d", SumID{id.TopicID, id.Partition, 200})
	require.ErrorIs(t, err, ErrCorrupt)
}

func TestAFileThatShrinksWhileItIsVerifiedIsAnError(t *testing.T) {
	f := FileSum{Size: 100, Blocks: make([]uint64, 1)}
	_, err := f.read(bytes.NewReader(make([]byte, 50)), 0, new([SumBlockSize]byte))
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

func TestSumIsReplacedWholeOrNotAtAll(t *testing.T) {
	mem, id, _ := sealed(t)
	sum, err := BuildSum(mem, "d", id, SumFiles(100))
	require.NoError(t, err)
	require.NoError(t, sum.Write(mem, "d"))
	_, err = mem.Stat("d/" + SumName(100) + TmpSuffix)
	require.ErrorIs(t, err, os.ErrNotExist)
}

func BenchmarkBuildSum(b *testing.B) {
	dir := b.TempDir()
	data := make([]byte, 64<<20)
	for i := range data {
		data[i] = byte(i * i >> 8)
	}
	writeFile(b, dir+"/"+LogName(0), data)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := BuildSum(osFS, dir, SumID{}, []string{LogName(0)}); err != nil {
			b.Fatal(err)
		}
	}
}
