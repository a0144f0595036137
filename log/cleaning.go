package log

import (
	"fmt"
	"math"
	"time"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/mmap"
)

// CleanOptions are the choices of one cleaning.
type CleanOptions struct {
	Now time.Time // decides about compaction lags, tombstones and markers; zero: the log's clock

	// MapBytes bounds the memory of the map from keys to offsets: 16 bytes for each of its slots, of which 85 in 100 are used; it is
	// made no larger than the dirty records can fill. Default 128 MiB. When the keys do not fit, the cleaning ends before the
	// first that does not, and another goes on from there.
	MapBytes int64

	// Pace is called by Clean between two steps with how many bytes the last one has read and written, with no lock held, and may wait;
	// its error ends the cleaning. May be nil.
	Pace func(bytes int64) error
}

// CleanResult says what a cleaning did.
type CleanResult struct {
	First, Cleaned Offset // the first dirty offset before and after
	Limit          Offset // what it could have been at most; Cleaned is below it when the map was full, or the cleaning did not end well
	Keys           int    // in the map
	MapUse         float64
	Segments       int // read
	Swapped        int // that took their place

	Batches, Records, Bytes             int64 // read to be cleaned
	KeptBatches, KeptRecords, KeptBytes int64 // of them; the batches count those that were emptied
	Tombstones                          int64 // removed
	Invalid                             int64 // records without a key, which go; the pass behind a full map may count some again
	MapBytesRead                        int64 // read to find the last offset of each key
	Took                                time.Duration
}

// defaultMapBytes is half of what a broker's cleaner has by default for all of its threads (log.cleaner.dedupe.buffer.size).
const defaultMapBytes = 128 << 20

// cleanStep is how many bytes Clean does between two calls of Pace.
const cleanStep = 8 << 20

// Cleaning is one pass of compaction over a log: it finds the last offset of each key in the dirty section, as far as they fit into
// the map, and writes all segments up to there anew without what is older (Apache Kafka's Cleaner; KIP-58, KIP-354, KIP-534).
// What stays, stays at its offset:
//
//   - the last record of each key, and all that are behind the part that was mapped;
//   - of tombstones those that no horizon has passed, which the first cleaning that keeps one sets to DeleteRetention from now;
//   - markers of transactions while anything is left of the transaction, and one horizon longer;
//   - of a batch without any of that, if it is the last one of an idempotent producer, or of the new segment, its header: sequence
//     numbers and offsets are not lost.
//
// Records of aborted transactions go. The active segment, and what is not stable, is not touched. Appends, reads, retention go on
// meanwhile. A Cleaning is for one goroutine at a time; the log's Close ends it.
type Cleaning struct {
	log      *Log
	now      int64 // milliseconds
	settings *Settings
	begun    time.Time

	list   []*logSegment // from the log's first on, up to the limit
	phase  cleanPhase
	keys   *offsetMap
	set    []uint64 // last offsets of keys in [First, end), if that takes little memory; nil: ask keys
	end    Offset   // mapped up to here
	at     int      // in list, of the segment being read
	reader cleanReader
	txns   *cleanTxns
	lasts  map[int64]lastBatch // of idempotent producers

	group   int // in list: the group being written is list[group:until]
	until   int
	bound   Offset // behind the group
	out     *cleanFile
	changed bool // out differs from what it is made of
	rewrite batch.Rewriter
	empty   []byte

	work   int64 // bytes read and written so far
	result CleanResult
	err    error // why it is over
}

type cleanPhase uint8

const (
	cleanMapping cleanPhase = iota
	cleanCopying
	cleanOver
)

// lastBatch tells the batch that has a producer's state: its last with data, or else its last marker.
type lastBatch struct {
	offset Offset // -1: no data
	epoch  int16
}

// Clean does one pass of compaction. A result comes with an error too. Errors that a caller can act on: *CorruptionError when something
// in the way cannot be read, then nothing is removed; ErrNoSpace, and other errors of writes, likewise; ErrCleaningAborted;
// those of a Pace. The owner persists Cleaned after it.
func (l *Log) Clean(o CleanOptions) (CleanResult, error) {
	c, err := l.BeginClean(o)
	if err != nil {
		return CleanResult{}, err
	}
	defer c.Close()
	for {
		worked := c.Work()
		done, err := c.Step(cleanStep)
		if done || err != nil {
			return c.Result(), err
		}
		if o.Pace != nil {
			if err := o.Pace(c.Work() - worked); err != nil {
				return c.Result(), err
			}
		}
	}
}

// BeginClean begins a pass of compaction that is done by Step. There can be one at a time.
func (l *Log) BeginClean(o CleanOptions) (*Cleaning, error) {
	l.cleaner.mu.Lock()
	defer l.cleaner.mu.Unlock()
	switch {
	case l.closed.Load():
		return nil, ErrClosed
	case l.config.ReadOnly:
		return nil, ErrReadOnly
	case l.cleaner.current != nil:
		return nil, fmt.Errorf("%w: another one is going on", ErrCleaningAborted)
	case l.cleaner.mending:
		return nil, fmt.Errorf("%w: a damaged segment is being mended", ErrCleaningAborted)
	}
	if o.Now.IsZero() {
		o.Now = l.clock.Now()
	}
	if o.MapBytes <= 0 {
		o.MapBytes = defaultMapBytes
	}
	if err := l.prepareClean(); err != nil {
		return nil, err
	}
	c := &Cleaning{log: l, now: milliseconds(o.Now), settings: l.settings.Load(), begun: l.clock.Now()}
	c.reader.log = l
	first, list := l.firstDirty(), l.segmentList()
	c.result = CleanResult{First: first, Cleaned: first, Limit: first}
	if len(list) == 0 {
		c.phase = cleanOver
		return c, nil
	}
	last, err := l.firstUncleanable(list, first, o.Now, c.settings)
	if err != nil {
		return nil, err
	}
	c.list = list[:last]
	limit := max(list[last].base, first)
	c.result.Limit, c.end = limit, limit
	aborted, err := l.Aborted(nil, first, limit)
	if err != nil {
		return nil, err
	}
	c.txns = newCleanTxns(aborted)
	// A bit an offset tells what the map tells, without its cache misses; so it may have a small part of the memory.
	setBytes := int64(limit-first)/8 + 8
	if setBytes > o.MapBytes/16 {
		setBytes = 0
	}
	c.keys = newOffsetMap(o.MapBytes-setBytes, int64(limit-first), first)
	if setBytes > 0 {
		c.set = []uint64{}
	}
	c.at = max(segmentAt(c.list, first), 0) - 1
	l.cleaner.current = c
	return c, nil
}

// prepareClean has all finished segments synced, with their indexes written, and finishes or removes what an earlier cleaning has left.
func (l *Log) prepareClean() error {
	if err := l.touch(); err != nil {
		return err
	}
	l.admin.Lock()
	defer l.admin.Unlock()
	if err := l.failureError(); err != nil {
		return err
	}
	if err := l.finishSwap(); err != nil {
		return err
	}
	for {
		done, err := l.sealNext()
		if err != nil {
			return err
		}
		if done {
			break
		}
	}
	return l.dropCleaned()
}

// Result says what has been done so far.
func (c *Cleaning) Result() CleanResult {
	r := c.result
	if c.keys != nil {
		r.Keys, r.MapUse = c.keys.usage()
	}
	r.Took = c.log.clock.Now().Sub(c.begun)
	return r
}

// Work returns how many bytes have been read and written so far.
func (c *Cleaning) Work() int64 { return c.work }

// Step goes on until bytes have been read and written, or little more. Done says that the cleaning is over; so does an error, which a
// second call returns again.
func (c *Cleaning) Step(bytes int64) (done bool, err error) {
	l := c.log
	l.cleaner.mu.Lock()
	defer l.cleaner.mu.Unlock()
	target := c.work
	if bytes > math.MaxInt64-target {
		bytes = math.MaxInt64 - target
	}
	target += bytes
	fault := mmap.Guard(func() { c.goOn(target) })
	if fault != nil {
		s := c.reader.segment
		s.retireMapping()
		c.fail(c.reader.failed(s, &suspicion{segment: s, position: c.reader.position, err: fault}))
	}
	if c.err != nil || c.phase == cleanOver {
		c.drop()
		return true, c.err
	}
	return false, nil
}

// goOn works until target bytes have been read and written since the beginning.
func (c *Cleaning) goOn(target int64) {
	for c.err == nil && c.phase != cleanOver && c.work < target {
		var err error
		if c.phase == cleanMapping {
			err = c.mapNext()
		} else {
			err = c.copyNext()
		}
		if err != nil {
			c.fail(err)
		}
	}
}

// Close ends the cleaning; what it has swapped in stays.
func (c *Cleaning) Close() {
	c.log.cleaner.mu.Lock()
	defer c.log.cleaner.mu.Unlock()
	c.abort(ErrCleaningAborted)
}

// abort ends the cleaning if it is not over. cleaner.mu is held.
func (c *Cleaning) abort(err error) {
	if c.phase != cleanOver {
		c.fail(err)
	}
	c.drop()
}

func (c *Cleaning) fail(err error) {
	if c.err == nil {
		c.err = err
	}
	c.phase = cleanOver
}

// drop gives back all that the cleaning holds, and removes what it has not swapped in.
func (c *Cleaning) drop() {
	if c.log.cleaner.current == c {
		c.log.cleaner.current = nil
	}
	c.reader.close()
	c.dropOut()
	if c.keys != nil {
		c.result.Keys, c.result.MapUse = c.keys.usage()
		c.keys.release()
	}
	c.set, c.keys = nil, nil
}

func (c *Cleaning) dropOut() {
	if c.out == nil {
		return
	}
	c.out.close()
	if !c.out.committed {
		c.log.removeCleaned(c.out.base)
	}
	c.out = nil
}
