package consumer_test

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/compress"
	"github.com/partlog/partlog/internal/vfs"
	"github.com/partlog/partlog/log"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
)

// reader reads until nothing is left or an error is not to be passed: values and damaged ranges in their order.
type reader func(*testing.T, *consumer.Consumer) (values []string, damaged [][2]partition.Offset, last error)

var readers = map[string]reader{
	"records": func(t *testing.T, c *consumer.Consumer) (values []string, damaged [][2]partition.Offset, last error) {
		for r, err := range c.Records(t.Context()) {
			if last = err; err == nil {
				values = append(values, string(r.Value))
				continue
			}
			require.Zero(t, r)
			if bad, ok := errors.AsType[*log.CorruptionError](err); ok {
				damaged = append(damaged, [2]partition.Offset{bad.Offset, bad.NextOffset})
			}
		}
		return values, damaged, last
	},
	"poll": func(t *testing.T, c *consumer.Consumer) (got []string, damaged [][2]partition.Offset, last error) {
		for {
			records, err := c.Poll(t.Context())
			got = append(got, values(records)...)
			if bad, ok := errors.AsType[*log.CorruptionError](err); ok {
				damaged = append(damaged, [2]partition.Offset{bad.Offset, bad.NextOffset})
			}
			if err == io.EOF {
				return got, damaged, nil
			}
			if err != nil && len(damaged) > 2 || err != nil && len(damaged) == 0 {
				return got, damaged, err
			}
		}
	},
	"borrowed": func(t *testing.T, c *consumer.Consumer) (got []string, damaged [][2]partition.Offset, last error) {
		note := func(err error) {
			if bad, ok := errors.AsType[*log.CorruptionError](err); ok {
				damaged = append(damaged, [2]partition.Offset{bad.Offset, bad.NextOffset})
			}
		}
		for {
			run, err := c.PollBorrowed(t.Context())
			note(err)
			if err == io.EOF {
				return got, damaged, nil
			}
			if err != nil && len(damaged) > 2 || err != nil && len(damaged) == 0 {
				return got, damaged, err
			}
			if err != nil {
				continue
			}
			for r, err := range run.All() {
				note(err)
				if err == nil {
					got = append(got, strings.Clone(string(r.Value)))
				}
			}
			run.Release()
		}
	},
}

// damagedStore has 100 batches of 10 records with values of 2 KiB; in some of them a bit is wrong on the disk.
func damagedStore(t *testing.T, wrong ...int) *partition.Store {
	t.Helper()
	disk := partitiontest.NewDisk()
	config := partition.Config{FS: disk}
	store, err := partition.Open("/store", config)
	require.NoError(t, err)
	_, err = store.CreateTopic(t.Context(), "t", partition.TopicConfig{Partitions: 1})
	require.NoError(t, err)
	for i := range 100 {
		values := texts(1000+i*10, 10)
		for j := range values {
			values[j] += strings.Repeat("-", 2048)
		}
		writeAt(t, store, "t", 0, timeZero, values...)
	}
	require.NoError(t, store.Close())

	const name = "/store/data/t-0/00000000000000000000.log"
	bytes, err := vfs.ReadFile(disk, name, 1<<30)
	require.NoError(t, err)
	f, err := disk.OpenFile(name, os.O_RDWR, 0)
	require.NoError(t, err)
	position := 0
	for i := range 100 {
		b, err := batch.Peek(bytes[position:])
		require.NoError(t, err)
		for _, w := range wrong {
			if w == i {
				middle := position + len(b)/2
				_, err := f.WriteAt([]byte{bytes[middle] ^ 4}, int64(middle))
				require.NoError(t, err)
			}
		}
		position += len(b)
	}
	require.NoError(t, f.Close())
	store, err = partition.Open("/store", config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

func short(values []string) []string {
	for i, v := range values {
		values[i] = strings.TrimRight(v, "-")
	}
	return values
}

func TestDamagedRangeOnDiskIsPassedOnceWithSkip(t *testing.T) {
	for name, read := range readers {
		for _, joined := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				store := damagedStore(t, 40, 80)
				config := consumer.Config{OnCorruption: consumer.Skip, MaxPartitionBytes: 128 << 10}
				var c *consumer.Consumer
				if joined {
					config.Until = consumer.UntilEnd()
					c = join(t, openGroup(t, store, group.Config{}), config)
				} else {
					c = assign(t, store, config, consumer.Assignment{TopicPartition: at("t", 0), Until: consumer.UntilEnd()})
				}
				got, damaged, last := read(t, c)
				require.NoError(t, last)
				require.Equal(t, append(append(texts(1000, 400), texts(1410, 390)...), texts(1810, 190)...), short(got))
				require.Equal(t, [][2]partition.Offset{{400, 410}, {800, 810}}, damaged)
				require.EqualValues(t, 2, c.Stats().Skipped)
			})
		}
	}
}

func TestDamagedRangeOnDiskStopsAndThePositionStays(t *testing.T) {
	store := damagedStore(t, 40)
	g := openGroup(t, store, group.Config{})
	c := join(t, g, consumer.Config{Until: consumer.UntilEnd(), MaxPartitionBytes: 128 << 10})
	for i := range 3 {
		got, damaged, last := readers["records"](t, c)
		require.ErrorIs(t, last, log.ErrCorrupt)
		require.Equal(t, [][2]partition.Offset{{400, 410}}, damaged)
		if i == 0 {
			require.Equal(t, texts(1000, 400), short(got))
		} else {
			require.Empty(t, got)
		}
		position, _ := c.Position(at("t", 0))
		require.EqualValues(t, 400, position)
	}
	require.Zero(t, c.Stats().Skipped)
	require.NoError(t, c.Seek(at("t", 0), consumer.AtOffset(410))) // the caller may go on behind it
	got, _, last := readers["records"](t, c)
	require.NoError(t, last)
	require.Equal(t, texts(1410, 590), short(got))
}

// In a batch that was appended like this, only the records' own lengths are wrong.
func TestBatchThatCannotBeWalkedIsDamage(t *testing.T) {
	for name, read := range readers {
		for kind, spoil := range map[string]func(batch.Batch) batch.Batch{
			"record":     func(b batch.Batch) batch.Batch { b[batch.HeaderSize] = 0x7f; return b },
			"compressed": func(b batch.Batch) batch.Batch { b[len(b)-5] ^= 0xff; b[batch.HeaderSize+1] ^= 0xff; return b },
		} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				store := newStore(t, "t", 1)
				codec := compress.None
				if kind == "compressed" {
					codec = compress.Gzip
				}
				for i := range 4 {
					writeBatch(t, store, "t", 0, timeZero, batch.Options{Codec: codec}, texts(i*10, 10)...)
				}
				backend := &spy{Store: store, fetched: func(_ partition.FetchRequest, results []partition.FetchResult) {
					for i := range results {
						whole := append([]byte(nil), results[i].Batches...)
						for rest := batch.Batch(whole); len(rest) > 0; rest = rest[rest.Length():] {
							if rest.BaseOffset() == 10 {
								spoil(rest[:rest.Length()])
							}
						}
						results[i].Batches = whole
					}
				}}
				c := backend.assign(t, consumer.Config{OnCorruption: consumer.Skip}, consumer.Assignment{TopicPartition: at("t", 0), Until: consumer.UntilEnd()})
				got, damaged, last := read(t, c)
				require.NoError(t, last)
				require.Equal(t, append(texts(0, 10), texts(20, 20)...), got)
				require.Equal(t, [][2]partition.Offset{{10, 20}}, damaged)

				c = backend.assign(t, consumer.Config{}, consumer.Assignment{TopicPartition: at("t", 0), Until: consumer.UntilEnd()})
				if name == "records" {
					got, _, last = read(t, c)
					require.ErrorIs(t, last, log.ErrCorrupt)
					require.Equal(t, texts(0, 10), got)
				}
			})
		}
	}
}

// Damage whose end is not known cannot be gone behind: the iteration ends also with Skip.
func TestDamageWithoutAnEndEndsTheIteration(t *testing.T) {
	store := newStore(t, "t", 1)
	write(t, store, "t", 0, 0, 10)
	for name, spoil := range map[string]func(*partition.FetchResult){
		"error without an end": func(r *partition.FetchResult) {
			r.Lease.Release()
			*r = partition.FetchResult{TopicPartition: r.TopicPartition, Err: &log.CorruptionError{Path: "x", Err: io.ErrUnexpectedEOF}}
		},
		"no header": func(r *partition.FetchResult) { r.Batches = make([]byte, 100) },
	} {
		t.Run(name, func(t *testing.T) {
			backend := &spy{Store: store, fetched: func(_ partition.FetchRequest, results []partition.FetchResult) { spoil(&results[0]) }}
			c := backend.assign(t, consumer.Config{OnCorruption: consumer.Skip}, consumer.Assignment{TopicPartition: at("t", 0), Until: consumer.UntilEnd()})
			n := 0
			for _, err := range c.Records(t.Context()) {
				require.ErrorIs(t, err, log.ErrCorrupt)
				n++
			}
			require.Equal(t, 1, n)
			require.Zero(t, c.Stats().Skipped)
			_, err := c.Poll(t.Context())
			require.ErrorIs(t, err, log.ErrCorrupt)
		})
	}
}

// A Poll that ran into damage behind its records tells of it next, in whatever way is read then.
func TestDamageBehindPolledRecordsIsToldByTheNextLoop(t *testing.T) {
	store := damagedStore(t, 1)
	c := assign(t, store, consumer.Config{OnCorruption: consumer.Skip}, consumer.Assignment{TopicPartition: at("t", 0), Until: consumer.UntilEnd()})
	require.Equal(t, texts(1000, 10), short(poll(t, c)))
	got, damaged, last := readers["records"](t, c)
	require.NoError(t, last)
	require.Equal(t, [][2]partition.Offset{{10, 20}}, damaged)
	require.Equal(t, texts(1020, 980), short(got))
}

// A file that somebody cuts under the mapping is an error of its partition, and the process lives.
func TestFileCutUnderTheMappingIsATypedError(t *testing.T) {
	store := newStore(t, "t", 1)
	write(t, store, "t", 0, 0, 10)
	name := t.TempDir() + "/mapped"
	f, err := vfs.OS.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, f.Truncate(1<<20))
	region, err := f.Map(1 << 20)
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip("files cannot be mapped here")
	}
	require.NoError(t, err)
	defer func() { require.NoError(t, region.Unmap()) }()
	require.NoError(t, f.Truncate(0))
	backend := &spy{Store: store, fetched: func(_ partition.FetchRequest, results []partition.FetchResult) {
		results[0].Batches = region.Bytes()
	}}
	for _, mode := range []consumer.OnCorruption{consumer.Stop, consumer.Skip} {
		c := backend.assign(t, consumer.Config{OnCorruption: mode}, consumer.Assignment{TopicPartition: at("t", 0)})
		n := 0
		for _, err := range c.Records(t.Context()) {
			require.ErrorIs(t, err, log.ErrCorrupt)
			n++
		}
		require.Equal(t, 1, n)
		run, err := c.PollBorrowed(t.Context())
		require.NoError(t, err)
		for _, err := range run.All() {
			require.ErrorIs(t, err, log.ErrCorrupt)
			n++
		}
		require.Equal(t, 2, n)
		run.Release()
	}
}
