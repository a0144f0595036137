package segment

import (
	"path/filepath"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/vfs"
)

// IndexOptions are the two sizes of a segment's indexes.
type IndexOptions struct {
	Interval int // bytes of batches between two entries (index.interval.bytes)
	MaxBytes int // most bytes of either file (segment.index.bytes)
}

// Index is the pair of indexes of one segment, with the rule that decides which
// batches get an entry. Given the same batches and options its files are byte
// for byte those of a Kafka 4 broker.
//
// Add, Close, Truncate and Load are for one goroutine at a time; lookups in
// Offsets and Times may run beside them.
type Index struct {
	Offsets OffsetIndex
	Times   TimeIndex

	options IndexOptions
	since   int64 // bytes of batches since the last entry's batch began

	maxTimestamp       int64
	maxTimestampOffset int64 // last offset of the batch that has it
}

// NewIndex returns the empty indexes of the segment that begins at base.
func NewIndex(base int64, o IndexOptions) *Index {
	x := new(Index)
	x.Reset(base, o)
	return x
}

// Reset makes x the empty indexes of the segment that begins at base.
func (x *Index) Reset(base int64, o IndexOptions) {
	x.Offsets.reset(base, o.MaxBytes)
	x.Times.reset(base, o.MaxBytes)
	x.options, x.since = o, 0
	x.maxTimestamp, x.maxTimestampOffset = NoTimestamp, base
}

// Add tells x of the next batch of the segment and where it starts. It must see
// every batch in order. The rule is LogSegment.append's of Kafka 4: a batch
// before which more than Interval bytes have gone by without an entry gets one,
// so the first batch of a segment never does.
func (x *Index) Add(position int64, b batch.Batch) {
	x.AddBatch(position, b.LastOffset(), b.MaxTimestamp(), int64(len(b)))
}

// AddBatch is Add for a caller that has the figures at hand: where the batch
// starts, its last offset, its largest timestamp and its size in bytes.
func (x *Index) AddBatch(position, lastOffset, maxTimestamp, size int64) {
	if maxTimestamp > x.maxTimestamp {
		x.maxTimestamp, x.maxTimestampOffset = maxTimestamp, lastOffset
	}
	if x.since > int64(x.options.Interval) {
		x.Offsets.Add(lastOffset, position)
		x.Times.Add(x.maxTimestamp, x.maxTimestampOffset, false)
		x.since = 0
	}
	x.since += size
}

// Full reports whether the segment must roll because an index has no space.
func (x *Index) Full() bool { return x.Offsets.Full() || x.Times.Full() }

// MaxTimestamp returns the largest timestamp of the segment and the last offset
// of the batch that has it; NoTimestamp when there is none.
func (x *Index) MaxTimestamp() (timestamp, offset int64) { return x.maxTimestamp, x.maxTimestampOffset }

// Close adds the entry that every finished segment's time index ends with: the
// largest timestamp, so that the file alone tells it. Called at a roll, a close
// and the end of a recovery; the segment may go on afterwards.
func (x *Index) Close() { x.Times.Add(x.maxTimestamp, x.maxTimestampOffset, true) }

// Truncate makes x the indexes of a segment cut to size bytes whose next offset
// is next. Because the largest timestamp may have been cut off with the rest it
// falls back to the last entry's, as in Kafka; a caller that wants it exact
// gives the batches behind that entry to Observe.
func (x *Index) Truncate(next, size int64) {
	x.Offsets.Truncate(next)
	x.Times.Truncate(next)
	x.resume(size)
}

// Observe raises the largest timestamp as Add does, and nothing else.
func (x *Index) Observe(b batch.Batch) {
	if t := b.MaxTimestamp(); t > x.maxTimestamp {
		x.maxTimestamp, x.maxTimestampOffset = t, b.LastOffset()
	}
}

// resume sets what is not in the files from what is.
func (x *Index) resume(size int64) {
	_, position, _ := x.Offsets.Last()
	x.since = max(0, size-position)
	x.maxTimestamp, x.maxTimestampOffset, _ = x.Times.Last()
}

// Write replaces both files of the segment in dir. They are complete and synced
// when it returns nil.
func (x *Index) Write(fsys vfs.FS, dir string) error {
	base := x.Offsets.base
	if err := vfs.WriteFileAtomic(fsys, filepath.Join(dir, IndexName(base)), x.Offsets.AppendTo(nil)); err != nil {
		return err
	}
	return vfs.WriteFileAtomic(fsys, filepath.Join(dir, TimeIndexName(base)), x.Times.AppendTo(nil))
}

// Load reads both files of the segment in dir, whose log file has logSize bytes
// and ends before offset next. Any error means that the indexes are to be
// rebuilt from the log: fs.ErrNotExist when a file is missing, a *CorruptError
// when its content cannot be right. x is empty then.
//
// Load cannot tell that an entry is missing or, in a time index, wrong but in
// order; a sum can.
func (x *Index) Load(fsys vfs.FS, dir string, logSize, next int64) error {
	base := x.Offsets.base
	x.Reset(base, x.options)
	err := loadIndex(fsys, filepath.Join(dir, IndexName(base)), func(data []byte) error {
		return x.Offsets.Decode(data, logSize)
	})
	if err == nil {
		err = loadIndex(fsys, filepath.Join(dir, TimeIndexName(base)), func(data []byte) error {
			return x.Times.Decode(data, next)
		})
	}
	if offset, _, ok := x.Offsets.Last(); err == nil && ok && offset >= next {
		err = at(filepath.Join(dir, IndexName(base)), corrupt(0, "offset index entry points behind the end of the log"))
	}
	if err != nil {
		x.Reset(base, x.options)
		return err
	}
	x.resume(logSize)
	return nil
}

// maxIndexBytes bounds what is read of an index: more than a full index of a
// segment of 2 GiB with an entry a batch.
const maxIndexBytes = 512 << 20

func loadIndex(fsys vfs.FS, path string, decode func([]byte) error) error {
	data, err := readFile(fsys, path, maxIndexBytes)
	if err != nil {
		return err
	}
	return at(path, decode(data))
}
