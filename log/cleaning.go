package log

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/mmap"
	"github.com/partlog/partlog/internal/segment"
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
	Invalid                             int64 // records without a key, removed
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

// mapNext maps the keys of one batch.
func (c *Cleaning) mapNext() error {
	first := c.result.First
	if c.reader.segment == nil {
		c.at++
		if c.at >= len(c.list) || c.result.Limit <= first {
			return c.mapped()
		}
		return c.reader.open(c.list[c.at], first)
	}
	b, err := c.reader.next()
	if err != nil {
		return err
	}
	if b == nil {
		c.reader.close()
		return nil
	}
	c.work += int64(len(b))
	c.result.MapBytesRead += int64(len(b))
	switch {
	case Offset(b.LastOffset()) < first:
		return nil // nor are its transactions among those of c.txns, unless they end behind
	case b.IsControl():
		c.txns.control(b)
		return nil
	case c.txns.data(b) || b.Count() == 0:
		return nil
	}
	if err := c.rewrite.Read(b, 0); err != nil {
		return c.undecodable(b, err)
	}
	for c.rewrite.Next() {
		offset := Offset(c.rewrite.Offset())
		if offset < first || c.rewrite.Key() == nil {
			continue
		}
		if full, ok := c.keys.put(c.rewrite.Key(), offset); !ok {
			c.end = full
			c.at = len(c.list)
			c.reader.close()
			return nil
		}
	}
	if err := c.rewrite.Err(); err != nil {
		return c.undecodable(b, err)
	}
	return nil
}

// undecodable is the error of a batch whose checksum is right, but not what is in it.
func (c *Cleaning) undecodable(b batch.Batch, err error) error {
	s := c.reader.segment
	return &CorruptionError{Path: c.log.logPath(s), Position: c.reader.position - int64(len(b)), Offset: Offset(b.BaseOffset()), NextOffset: Offset(b.NextOffset()), Err: err}
}

// mapped goes from mapping to copying.
func (c *Cleaning) mapped() error {
	if full, ok := c.keys.flush(); !ok {
		c.end = full
	}
	if c.set != nil {
		c.set = c.keys.survivors(c.result.First, c.end)
	}
	aborted, err := c.log.Aborted(nil, c.list0(), c.result.Limit)
	if errors.Is(err, ErrOffsetOutOfRange) {
		return ErrCleaningAborted // the beginning has been deleted
	}
	if err != nil {
		return err
	}
	c.txns = newCleanTxns(aborted)
	c.phase, c.at, c.until = cleanCopying, -1, 0
	n := 0
	for n < len(c.list) && (c.list[n].base < c.end || c.end == c.result.Limit) {
		n++
	}
	c.list = c.list[:n]
	return nil
}

func (c *Cleaning) list0() Offset {
	if len(c.list) == 0 {
		return c.result.First
	}
	return c.list[0].base
}

// copyNext writes what stays of one batch.
func (c *Cleaning) copyNext() error {
	if c.out == nil {
		if c.until == len(c.list) {
			c.log.cleaner.cleaned.Store(int64(c.end))
			c.result.Cleaned = c.end
			c.phase = cleanOver
			return nil
		}
		return c.beginGroup()
	}
	if c.reader.segment == nil {
		if c.at++; c.at == c.until {
			return c.endGroup()
		}
		c.result.Segments++
		s := c.list[c.at]
		c.reader.checked = s.base >= c.result.First && c.boundOf(c.at) <= c.end // while it was mapped
		return c.reader.open(s, s.base)
	}
	b, err := c.reader.next()
	if err != nil {
		return err
	}
	if b == nil {
		c.reader.close()
		return nil
	}
	before := c.out.size()
	if err := c.clean(b); err != nil {
		return err
	}
	c.work += int64(len(b)) + c.out.size() - before
	return nil
}

// beginGroup takes as many segments as fit into one (Cleaner.groupSegmentsBySize).
func (c *Cleaning) beginGroup() error {
	c.group = c.until
	var bytes, offsets, times int64
	limit, indexLimit := min(c.settings.SegmentBytes, MaxSegmentBytes), int64(c.settings.IndexBytes)
	base := c.list[c.group].base
	for c.until < len(c.list) {
		s := c.list[c.until]
		if err := c.log.ensure(s); err != nil {
			return err
		}
		index := s.index.Load()
		bytes += s.bytes()
		offsets += int64(index.Offsets.Len()) * 8
		times += int64(index.Times.Len()) * 12
		next := c.boundOf(c.until)
		if c.until > c.group && (bytes > limit || offsets > indexLimit || times > indexLimit || int64(next-1-base) > segment.MaxRelativeOffset) {
			break
		}
		c.until++
		c.bound = next
	}
	lasts, err := c.lastBatches()
	if err != nil {
		return err
	}
	c.lasts = lasts
	c.at = c.group - 1
	c.changed = c.until-c.group > 1
	c.out, err = c.log.createCleaned(base)
	return err
}

// boundOf returns the offset behind segment i of the list.
func (c *Cleaning) boundOf(i int) Offset {
	_, bound := c.log.boundOf(c.list[i])
	return bound
}

// lastBatches finds which batch of each producer has to stay (UnifiedLog.lastRecordsOfActiveProducers).
func (c *Cleaning) lastBatches() (map[int64]lastBatch, error) {
	states, err := c.log.Producers()
	if err != nil || len(states) == 0 {
		return nil, err
	}
	lasts := make(map[int64]lastBatch, len(states))
	for _, p := range states {
		lasts[p.ProducerID] = lastBatch{offset: p.LastOffset, epoch: p.Epoch}
	}
	return lasts, nil
}

// endGroup swaps the new segment in.
func (c *Cleaning) endGroup() error {
	if !c.changed {
		c.dropOut()
		return nil
	}
	if err := c.out.finish(); err != nil {
		return err
	}
	if err := c.log.swapIn(c.out, c.list[c.group:c.until], c.bound); err != nil {
		return err
	}
	c.result.Swapped++
	c.out.close()
	c.out = nil
	return nil
}

// clean writes what stays of b.
func (c *Cleaning) clean(b batch.Batch) error {
	c.result.Batches++
	c.result.Records += int64(b.Count())
	c.result.Bytes += int64(len(b))
	if b.IsControl() {
		return c.cleanControl(b)
	}
	if c.txns.data(b) {
		return c.cleanEmpty(b)
	}
	if Offset(b.BaseOffset()) >= c.end {
		return c.keep(b)
	}
	if b.Count() == 0 || c.allOld(b) {
		return c.cleanEmpty(b)
	}
	if err := c.rewrite.Read(b, 0); err != nil {
		return c.undecodable(b, err)
	}
	tombstones := false
	for c.rewrite.Next() {
		stays, tombstone := c.stays(b)
		tombstones = tombstones || stays && tombstone
		if stays {
			c.rewrite.Keep()
		}
	}
	if err := c.rewrite.Err(); err != nil {
		return c.undecodable(b, err)
	}
	horizon := int64(-1)
	if tombstones && !b.HasDeleteHorizon() {
		horizon = c.horizon()
	}
	switch kept := c.rewrite.Kept(); {
	case kept == 0:
		return c.cleanEmpty(b)
	case kept == int(b.Count()) && horizon < 0:
		return c.keep(b)
	}
	return c.keepSome(b, horizon)
}

// horizon returns when what is deleted now may go.
func (c *Cleaning) horizon() int64 {
	retention := max(c.settings.DeleteRetention.Milliseconds(), 0)
	if retention > math.MaxInt64-c.now {
		return math.MaxInt64
	}
	return c.now + retention
}

// allOld says whether the set alone tells that no record of b is its key's last.
func (c *Cleaning) allOld(b batch.Batch) bool {
	from, to := Offset(b.BaseOffset())-c.result.First, Offset(b.LastOffset())-c.result.First
	if c.set == nil || from < 0 || Offset(b.LastOffset()) >= c.end {
		return false
	}
	for i := from; i <= to; {
		word := c.set[i>>6] >> (i & 63)
		n := min(64-i&63, to-i+1)
		if n < 64 {
			word &= 1<<n - 1
		}
		if word != 0 {
			return false
		}
		i += n
	}
	return true
}

// stays decides about the record that c.rewrite is at (Cleaner.shouldRetainRecord). tombstone says that it is a mapped one.
func (c *Cleaning) stays(b batch.Batch) (stays, tombstone bool) {
	offset := Offset(c.rewrite.Offset())
	switch first := c.result.First; {
	case offset >= c.end:
		return true, false
	case c.rewrite.Key() == nil:
		c.result.Invalid++
		return false, false
	case offset >= first && c.set != nil:
		at := offset - first
		stays = c.set[at>>6]&(1<<(at&63)) != 0
	default:
		stays = offset >= c.keys.get(c.rewrite.Key())
	}
	if !stays || !c.rewrite.ValueNull() {
		return stays, false
	}
	if b.HasDeleteHorizon() && b.BaseTimestamp() <= c.now {
		c.result.Tombstones++
		return false, false
	}
	return true, true
}

// cleanControl decides about a control batch. One that may go gets a horizon first, so that readers who have seen the transaction's
// records see its end.
func (c *Cleaning) cleanControl(b batch.Batch) error {
	spent, aborted := c.txns.control(b)
	if aborted != nil {
		c.out.aborted = segment.AppendTxnEntry(c.out.aborted, segment.AbortedTxn{ProducerID: aborted.ProducerID,
			FirstOffset: int64(aborted.First), LastOffset: int64(aborted.Last), LastStableOffset: int64(aborted.LastStable)})
	}
	switch {
	case !spent:
		return c.keep(b)
	case b.Count() == 0 || b.HasDeleteHorizon() && b.BaseTimestamp() <= c.now:
		return c.cleanEmpty(b)
	case b.HasDeleteHorizon():
		return c.keep(b)
	}
	if err := c.rewrite.Read(b, 0); err != nil {
		return c.undecodable(b, err)
	}
	for c.rewrite.Next() {
		c.rewrite.Keep()
	}
	if err := c.rewrite.Err(); err != nil || c.rewrite.Kept() == 0 {
		return c.undecodable(b, errors.Join(err, batch.ErrCorrupt))
	}
	return c.keepSome(b, c.horizon())
}

// keep copies b as it is.
func (c *Cleaning) keep(b batch.Batch) error {
	c.result.KeptBatches++
	c.result.KeptRecords += int64(b.Count())
	c.result.KeptBytes += int64(len(b))
	return c.out.copyOf(b)
}

// keepSome writes b with what c.rewrite has kept.
func (c *Cleaning) keepSome(b batch.Batch, horizon int64) error {
	c.changed = true
	before := c.out.size()
	err := c.out.append(len(b)+len(b)/4, func(dst []byte) ([]byte, error) { return c.rewrite.Append(dst, horizon) })
	if err != nil {
		return err
	}
	c.result.KeptBatches++
	c.result.KeptRecords += int64(c.rewrite.Kept())
	c.result.KeptBytes += c.out.size() - before
	return nil
}

// cleanEmpty writes the header of b if it has to stay, and otherwise nothing. At the end of a segment that is not the last its
// offsets are all that stays: with its producer's fields it would pass for a part of a transaction.
func (c *Cleaning) cleanEmpty(b batch.Batch) error {
	next := Offset(b.NextOffset())
	whole := next == c.result.Limit || c.lastOfProducer(b)
	switch {
	case !whole && next != c.bound:
		c.changed = true
		return nil
	case b.Count() == 0 && !b.HasDeleteHorizon() && (whole || b.ProducerID() < 0):
		return c.keep(b)
	case whole:
		c.empty = batch.BuildEmpty(c.empty[:0], b)
	default:
		c.empty = batch.BuildGap(c.empty[:0], b)
	}
	c.changed = true
	c.result.KeptBatches++
	c.result.KeptBytes += int64(len(c.empty))
	return c.out.copyOf(c.empty)
}

// lastOfProducer says whether b is what is known of its producer's sequence numbers, or, without data, of its epoch.
func (c *Cleaning) lastOfProducer(b batch.Batch) bool {
	if b.ProducerID() < 0 {
		return false
	}
	last, ok := c.lasts[b.ProducerID()]
	if !ok {
		return false
	}
	if last.offset >= 0 {
		return Offset(b.LastOffset()) == last.offset
	}
	return b.IsControl() && b.ProducerEpoch() == last.epoch
}
