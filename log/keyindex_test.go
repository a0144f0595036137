package log

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/compress"
	"github.com/partlog/partlog/internal/segment"
	"github.com/partlog/partlog/internal/vfs"
)

// makeOfKeys builds a batch with a record for each key.
func makeOfKeys(codec compress.Codec, keys ...string) []byte {
	var b batch.Builder
	b.Reset(nil, batch.Options{Codec: codec})
	for _, k := range keys {
		b.Append(1000, []byte(k), []byte("value of "+k), nil)
	}
	out, err := b.Finish()
	if err != nil {
		panic(err)
	}
	return out
}

func keyConfig(fs vfs.FS) Config {
	c := testConfig(fs)
	c.Settings = Settings{KeyIndex: true, SegmentBytes: 1000, IndexInterval: 200}
	return c
}

// sealAll does all background work.
func sealAll(t require.TestingT, l *Log) {
	for {
		done, err := l.Seal()
		require.NoError(t, err)
		if done {
			return
		}
	}
}

func offsetsOf(t require.TestingT, l *Log, key string, from Offset) []Offset {
	got, err := l.KeyOffsets(nil, []byte(key), from)
	require.NoError(t, err)
	return got
}

func TestKeyIndexFindsEveryRecordOfAKeyUnderAnyCourseOfEvents(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		mem := vfs.NewMem()
		l, _, err := Open(keyConfig(mem))
		require.NoError(r, err)
		defer func() { l.Abandon() }()
		model := map[string][]Offset{}
		next := Offset(0)
		r.Repeat(map[string]func(*rapid.T){
			"append": func(r *rapid.T) {
				keys := rapid.SliceOfN(rapid.StringOfN(rapid.RuneFrom([]rune("abcde")), 1, 1, -1), 1, 5).Draw(r, "keys")
				codec := rapid.SampledFrom([]compress.Codec{0, 4}).Draw(r, "codec")
				_, err := l.Append(makeOfKeys(codec, keys...), AppendOptions{Durable: true})
				require.NoError(r, err)
				for _, k := range keys {
					model[k] = append(model[k], next)
					next++
				}
			},
			"seal": func(r *rapid.T) { sealAll(r, l) },
			"close": func(r *rapid.T) {
				require.NoError(r, l.Close())
				c := keyConfig(mem)
				c.Clean, c.CleanEnd, c.RecoveryPoint = true, next, next
				l, _, err = Open(c)
				require.NoError(r, err)
			},
			"kill": func(r *rapid.T) {
				l.Abandon()
				l, _, err = Open(keyConfig(mem))
				require.NoError(r, err)
			},
			"look": func(r *rapid.T) {
				k := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f"}).Draw(r, "key")
				from := Offset(rapid.IntRange(0, int(next)).Draw(r, "from"))
				want := model[k]
				i, _ := slices.BinarySearch(want, from)
				require.Equal(r, append([]Offset(nil), want[i:]...), append([]Offset(nil), offsetsOf(r, l, k, from)...))
				last, err := l.LastOfKey([]byte(k))
				require.NoError(r, err)
				if len(want) == 0 {
					require.Equal(r, Offset(-1), last)
				} else {
					require.Equal(r, want[len(want)-1], last)
				}
			},
		})
	})
}

func TestDamagedKeyIndexIsMadeAgainFromTheRecords(t *testing.T) {
	mem := vfs.NewMem()
	l := open(t, keyConfig(mem))
	for i := range 60 {
		_, err := l.Append(makeOfKeys(0, fmt.Sprint("k", i%7)), AppendOptions{Durable: true})
		require.NoError(t, err)
	}
	sealAll(t, l)
	want := offsetsOf(t, l, "k3", 0)
	require.Len(t, want, 9)
	name := l.path(segment.KeyIndexName(0))
	data, err := vfs.ReadFile(mem, name, 1<<20)
	require.NoError(t, err)
	require.NoError(t, l.Close())
	for at := 0; at < len(data); at += 13 {
		bad := slices.Clone(data)
		bad[at] ^= 0x40
		require.NoError(t, vfs.WriteFileAtomic(mem, name, bad))
		again, _, err := Open(keyConfig(mem))
		require.NoError(t, err)
		require.Equal(t, want, offsetsOf(t, again, "k3", 0), "bit of byte %d flipped", at)
		again.Abandon()
	}
	for _, size := range []int{0, 1, 4095, 4096, 5000} {
		require.NoError(t, vfs.WriteFileAtomic(mem, name, data[:min(size, len(data))]))
		again, _, err := Open(keyConfig(mem))
		require.NoError(t, err)
		require.Equal(t, want, offsetsOf(t, again, "k3", 0), "cut to %d", size)
		again.Abandon()
	}
}

func TestKeyIndexIsRightWhileItIsBuiltUnderAppends(t *testing.T) {
	l := open(t, keyConfig(vfs.NewMem()))
	c := l.Settings()
	c.KeyIndex = false
	require.NoError(t, l.SetSettings(c))
	for range 20 {
		_, err := l.Append(makeOfKeys(0, "k"), AppendOptions{})
		require.NoError(t, err)
	}
	c.KeyIndex = true
	require.NoError(t, l.SetSettings(c))
	var appends sync.WaitGroup
	for range 4 {
		appends.Go(func() {
			for range 100 {
				_, err := l.Append(makeOfKeys(0, "k"), AppendOptions{})
				require.NoError(t, err)
			}
		})
	}
	for range 50 {
		got := offsetsOf(t, l, "k", 0)
		for i, o := range got {
			require.Equal(t, Offset(i), o, "a record is missing before others")
		}
	}
	appends.Wait()
	require.Len(t, offsetsOf(t, l, "k", 0), 420)
}

// Retention takes segments from under a lookup that is on its way back to the log's beginning.
func TestKeyIsLookedUpWhileSegmentsGo(t *testing.T) {
	l, _, err := Open(keyConfig(vfs.NewMem()))
	require.NoError(t, err)
	defer l.Abandon()
	over := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-over:
				return
			default:
			}
			last, err := l.LastOfKey([]byte("nobody's"))
			if err != nil || last != -1 {
				t.Errorf("last %d, %v", last, err)
				return
			}
			if _, err := l.KeyOffsets(nil, []byte("k1"), 0); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for i := range 3000 {
		_, err := l.Append(makeOfKeys(compress.None, fmt.Sprint("k", i%7), "some more"), AppendOptions{})
		require.NoError(t, err)
		if i%40 == 39 {
			sealAll(t, l)
			_, err := l.DeleteRecords(l.Visible() - 5)
			require.NoError(t, err)
		}
	}
	close(over)
	wg.Wait()
}
