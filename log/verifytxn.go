package log

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/segment"
)

// verifyTxns follows the transactions through the batches that Verify comes by, and compares the aborted ones with each .txnindex.
type verifyTxns struct {
	state   *producers
	known   bool // the state is right: from an empty log, or a snapshot, on, and without damage or compaction since
	aborted abortedList
}

// begin begins with a segment, the first one after what is known of the producers there.
func (t *verifyTxns) begin(v *verifier, s *logSegment) {
	t.aborted = abortedList{}
	if t.state != nil {
		return
	}
	t.state, t.known = &producers{}, s.base == 0
	if entries, err := segment.ReadSnapshot(v.config.FS, v.config.Dir, int64(s.base)); err == nil && s.base > 0 {
		t.state, t.known = restore(entries), true
	}
}

func (t *verifyTxns) batch(b batch.Batch) {
	if e := t.state.replay(b, Offset(b.BaseOffset()), noOffset); e != nil && e.aborted {
		t.aborted.add(e)
	}
}

// finish compares the .txnindex of s. One that is being written to may be behind.
func (t *verifyTxns) finish(v *verifier, s *logSegment, damaged, last bool) {
	t.known = t.known && !damaged && !v.gapsLawful()
	if v.live || !v.offline && (last || s.abortedDirty.Load()) {
		return
	}
	base := int64(s.base)
	path := v.path(segment.TxnIndexName(base))
	data, err := segment.ReadTxnIndex(v.config.FS, v.config.Dir, base)
	if err == nil {
		_, err = segment.ParseTxnIndex(data, base)
	} else if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if want := encodeAborted(nil, t.aborted.entries); err == nil && t.known && !bytes.Equal(data, want) {
		err = fmt.Errorf("has %d bytes, the batches have %d aborted transactions", len(data), len(t.aborted.entries))
	}
	if err != nil {
		v.add(Finding{Kind: WrongIndex, Path: path, Offset: s.base, NextOffset: s.base, Detail: err.Error()}, false)
	}
}
