package log

import (
	"errors"
	"os"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/segment"
	"github.com/partlog/partlog/internal/vfs"
)

// cleanFile is a segment that compaction makes, under names that end in .cleaned.
type cleanFile struct {
	log       *Log
	base      Offset
	file      vfs.File
	buffer    *[]byte // what is not written yet
	flushed   int64   // bytes written
	index     *segment.Index
	aborted   []byte // content of the .txnindex file
	next      Offset // behind the last batch
	committed bool   // the files are the log's
}

func (l *Log) createCleaned(base Offset) (*cleanFile, error) {
	path := l.path(segment.LogName(int64(base)) + segment.CleanedSuffix)
	file, err := l.config.FS.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, writeError("create", path, err)
	}
	f := &cleanFile{log: l, base: base, file: file, next: base, buffer: getBuffer(stagingSize)}
	*f.buffer = (*f.buffer)[:0]
	f.index = segment.NewIndex(int64(base), l.settings.Load().index())
	return f, nil
}

// size returns how many bytes the segment has so far.
func (f *cleanFile) size() int64 { return f.flushed + int64(len(*f.buffer)) }

var errCleanTooLarge = errors.New("the cleaned segment would exceed 2 GiB")

// room makes sure that n bytes can be added.
func (f *cleanFile) room(n int) error {
	if f.size()+int64(n) > MaxSegmentBytes {
		return errCleanTooLarge
	}
	if len(*f.buffer) > 0 && len(*f.buffer)+n > stagingSize {
		return f.flush()
	}
	return nil
}

// copyOf adds b as it is.
func (f *cleanFile) copyOf(b batch.Batch) error {
	if err := f.room(len(b)); err != nil {
		return err
	}
	*f.buffer = append(*f.buffer, b...)
	f.added(b)
	return nil
}

// append adds the batch that write appends to its argument; it has about n bytes.
func (f *cleanFile) append(n int, write func([]byte) ([]byte, error)) error {
	if err := f.room(n); err != nil {
		return err
	}
	at := len(*f.buffer)
	out, err := write(*f.buffer)
	if err != nil {
		return err
	}
	*f.buffer = out
	if f.size() > MaxSegmentBytes {
		return errCleanTooLarge
	}
	f.added(batch.Batch(out[at:]))
	return nil
}

// added indexes b, which ends the buffer.
func (f *cleanFile) added(b batch.Batch) {
	f.index.Add(f.size()-int64(len(b)), b)
	f.next = Offset(b.NextOffset())
}

func (f *cleanFile) flush() error {
	if _, err := f.file.WriteAt(*f.buffer, f.flushed); err != nil {
		return writeError("write", f.file.Name(), err)
	}
	f.flushed += int64(len(*f.buffer))
	*f.buffer = (*f.buffer)[:0]
	return nil
}

// finish makes all files complete and durable, but for their names.
func (f *cleanFile) finish() error {
	if err := f.flush(); err != nil {
		return err
	}
	if err := f.file.Sync(); err != nil {
		return writeError("sync", f.file.Name(), err)
	}
	if err := f.file.Close(); err != nil {
		return writeError("close", f.file.Name(), err)
	}
	f.file = nil
	f.index.Close()
	base := int64(f.base)
	for _, cache := range []struct {
		name string
		data []byte
	}{
		{segment.IndexName(base), f.index.Offsets.AppendTo(nil)},
		{segment.TimeIndexName(base), f.index.Times.AppendTo(nil)},
		{segment.TxnIndexName(base), f.aborted},
	} {
		if len(cache.data) == 0 && cache.name == segment.TxnIndexName(base) {
			continue // there is none without an entry
		}
		path := f.log.path(cache.name + segment.CleanedSuffix)
		if err := writeSynced(f.log.config.FS, path, cache.data); err != nil {
			return writeError("write", path, err)
		}
	}
	return nil
}

// writeSynced writes a file that nobody looks at before it has another name.
func writeSynced(fsys vfs.FS, path string, data []byte) error {
	file, err := fsys.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteAt(data, 0)
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// close gives file and buffer back; the files stay.
func (f *cleanFile) close() {
	if f == nil {
		return
	}
	if f.file != nil {
		_ = f.file.Close()
		f.file = nil
	}
	if f.buffer != nil {
		putBuffer(f.buffer)
		f.buffer = nil
	}
}
