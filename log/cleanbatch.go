package log

import (
	"errors"
	"math"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/segment"
)

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
		if offset < first {
			c.result.Invalid++ // others were when they were mapped
		}
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
