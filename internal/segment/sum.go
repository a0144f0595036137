package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/cespare/xxhash/v2"

	"github.com/partlog/partlog/internal/vfs"
)

// SumID says which segment a sum belongs to. Kafka's files do not say it, so a
// file that was swapped with another partition's is valid by itself.
type SumID struct {
	TopicID   [16]byte
	Partition int32
	Base      int64 // base offset of the segment
}

// Sum is the content of a .sum file: checksums of all files of one sealed
// segment. It does not change once it is built or loaded, so any number of
// goroutines may use it.
type Sum struct {
	ID    SumID
	Files []FileSum
}

// FileSum is the checksums of one file.
type FileSum struct {
	Name   string // in the segment's directory
	Size   int64
	Blocks []uint64 // xxh64 of each SumBlockSize bytes, the last may be shorter
}

// SumError says which block of a file is not what it was when the segment was
// sealed. It is ErrCorrupt.
type SumError struct {
	Path     string
	Position int64 // where the block begins
	Size     int64 // of the block; 0 when the file itself is missing or of another size
	Reason   string
}

// Error names the file, the range and the reason.
func (e *SumError) Error() string {
	return fmt.Sprintf("segment: %s fails its sum in [%d, %d): %s", nameOf(e.Path), e.Position, e.Position+e.Size, e.Reason)
}

// Is reports whether target is ErrCorrupt.
func (e *SumError) Is(target error) bool { return target == ErrCorrupt }

// sumBuffers holds the blocks that files are read into. ReadAt has returned
// before one is put back, so no read can still write to it.
var sumBuffers = sync.Pool{New: func() any { return new([SumBlockSize]byte) }}

// SumFiles are the names of the files of the segment that begins at base which
// a sum covers if they exist.
func SumFiles(base int64) []string {
	return []string{LogName(base), IndexName(base), TimeIndexName(base), TxnIndexName(base), SnapshotName(base)}
}

// BuildSum reads the files of a sealed segment in dir, those of names that
// exist, and returns their checksums. Nothing may write to them meanwhile. It
// reads a block at a time, whatever the files' size.
func BuildSum(fsys vfs.FS, dir string, id SumID, names []string) (*Sum, error) {
	s := &Sum{ID: id}
	for _, name := range names {
		f, err := buildFileSum(fsys, dir, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("sum of %s: %w", filepath.Join(dir, name), err)
		}
		s.Files = append(s.Files, f)
	}
	return s, nil
}

func buildFileSum(fsys vfs.FS, dir, name string) (sum FileSum, err error) {
	sum.Name = name
	f, err := fsys.OpenFile(filepath.Join(dir, name), os.O_RDONLY, 0)
	if err != nil {
		return sum, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if sum.Size, err = f.Size(); err != nil {
		return sum, err
	}
	sum.Blocks = make([]uint64, sumBlocks(sum.Size))
	buf := sumBuffers.Get().(*[SumBlockSize]byte)
	defer sumBuffers.Put(buf)
	for i := range sum.Blocks {
		block, err := sum.read(f, i, buf)
		if err != nil {
			return sum, err
		}
		sum.Blocks[i] = xxhash.Sum64(block)
	}
	return sum, nil
}

func sumBlocks(size int64) int64 { return (size + SumBlockSize - 1) / SumBlockSize }

// block returns the bounds of block i in the file.
func (f *FileSum) block(i int) (position, size int64) {
	position = int64(i) * SumBlockSize
	return position, min(SumBlockSize, f.Size-position)
}

func (f *FileSum) read(r io.ReaderAt, i int, buf *[SumBlockSize]byte) ([]byte, error) {
	position, size := f.block(i)
	n, err := r.ReadAt(buf[:size], position)
	if int64(n) < size {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return buf[:size], nil
}

// File returns the checksums of the file called name, nil when there are none.
func (s *Sum) File(name string) *FileSum {
	for i := range s.Files {
		if s.Files[i].Name == name {
			return &s.Files[i]
		}
	}
	return nil
}

// VerifyBlock compares block i, the SumBlockSize bytes from position
// i*SumBlockSize on or what there is of them, with its checksum. The error is a
// *SumError, without a path.
func (f *FileSum) VerifyBlock(i int, block []byte) error {
	if i < 0 || i >= len(f.Blocks) {
		return &SumError{Position: int64(i) * SumBlockSize, Reason: "the file had no such block"}
	}
	position, size := f.block(i)
	switch {
	case int64(len(block)) != size:
		return &SumError{Position: position, Size: size, Reason: fmt.Sprintf("block has %d bytes, had %d", len(block), size)}
	case xxhash.Sum64(block) != f.Blocks[i]:
		return &SumError{Position: position, Size: size, Reason: "checksum differs"}
	}
	return nil
}

// VerifyAll compares all files in dir with s and calls report for each
// difference: a block, a file that is missing or one of another size. It returns
// what the file system failed at, or report's error, which ends it.
func (s *Sum) VerifyAll(fsys vfs.FS, dir string, report func(*SumError) error) error {
	for i := range s.Files {
		if err := s.Files[i].verify(fsys, dir, report); err != nil {
			return err
		}
	}
	return nil
}

func (f *FileSum) verify(fsys vfs.FS, dir string, report func(*SumError) error) (err error) {
	path := filepath.Join(dir, f.Name)
	file, err := fsys.OpenFile(path, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return report(&SumError{Path: path, Reason: "file is missing"})
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	size, err := file.Size()
	if err != nil {
		return fmt.Errorf("size of %s: %w", path, err)
	}
	if size != f.Size {
		err := report(&SumError{Path: path, Position: min(size, f.Size), Reason: fmt.Sprintf("file has %d bytes, had %d", size, f.Size)})
		if err != nil {
			return err
		}
	}
	buf := sumBuffers.Get().(*[SumBlockSize]byte)
	defer sumBuffers.Put(buf)
	for i := range f.Blocks {
		if position, n := f.block(i); position+n > size {
			break
		}
		block, err := f.read(file, i, buf)
		if err != nil {
			return fmt.Errorf("verify %s: %w", path, err)
		}
		if e, ok := errors.AsType[*SumError](f.VerifyBlock(i, block)); ok {
			e.Path = path
			if err := report(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// AppendTo appends the content of the .sum file to dst.
func (s *Sum) AppendTo(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, sumMagic...)
	dst = binary.BigEndian.AppendUint16(dst, sumVersion)
	dst = binary.BigEndian.AppendUint32(dst, SumBlockSize)
	dst = append(dst, s.ID.TopicID[:]...)
	dst = binary.BigEndian.AppendUint32(dst, uint32(s.ID.Partition))
	dst = binary.BigEndian.AppendUint64(dst, uint64(s.ID.Base))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(s.Files)))
	for _, f := range s.Files {
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(f.Name)))
		dst = append(dst, f.Name...)
		dst = binary.BigEndian.AppendUint64(dst, uint64(f.Size))
		for _, b := range f.Blocks {
			dst = binary.BigEndian.AppendUint64(dst, b)
		}
	}
	return binary.BigEndian.AppendUint64(dst, xxhash.Sum64(dst[start:]))
}

// ParseSum parses the content of a .sum file. Errors are *CorruptError and
// *VersionError.
func ParseSum(data []byte) (*Sum, error) {
	if len(data) < sumHeaderSize+8 {
		return nil, corrupt(len(data), "sum is cut in its header")
	}
	if string(data[:8]) != sumMagic {
		return nil, corrupt(0, "sum does not begin as one")
	}
	// The version comes before the checksum, which a newer one may have elsewhere.
	version := binary.BigEndian.Uint16(data[8:])
	if version == 0 {
		return nil, corrupt(8, "sum has version 0")
	}
	if err := checkVersion(int64(version), sumVersion, 8); err != nil {
		return nil, err
	}
	end := len(data) - 8
	if xxhash.Sum64(data[:end]) != binary.BigEndian.Uint64(data[end:]) {
		return nil, corrupt(end, "sum fails its own checksum")
	}
	if n := binary.BigEndian.Uint32(data[10:]); n != SumBlockSize {
		return nil, corrupt(10, "sum has blocks of %d bytes", n)
	}
	s := &Sum{ID: SumID{
		Partition: int32(binary.BigEndian.Uint32(data[30:])),
		Base:      int64(binary.BigEndian.Uint64(data[34:])),
	}}
	copy(s.ID.TopicID[:], data[14:30])
	p := sumHeaderSize
	for range binary.BigEndian.Uint32(data[42:]) {
		if end-p < 2 {
			return nil, corrupt(p, "sum is cut in a file's name")
		}
		n := int(binary.BigEndian.Uint16(data[p:]))
		if p += 2; end-p < n+8 {
			return nil, corrupt(p, "sum is cut in a file's name")
		}
		f := FileSum{Name: string(data[p : p+n]), Size: int64(binary.BigEndian.Uint64(data[p+n:]))}
		p += n + 8
		if f.Size < 0 || f.Size > int64(end)*SumBlockSize || sumBlocks(f.Size)*8 > int64(end-p) {
			return nil, corrupt(p, "sum is cut in the blocks of %q", f.Name)
		}
		f.Blocks = make([]uint64, sumBlocks(f.Size))
		for i := range f.Blocks {
			f.Blocks[i] = binary.BigEndian.Uint64(data[p+8*i:])
		}
		p += 8 * len(f.Blocks)
		s.Files = append(s.Files, f)
	}
	if p != end {
		return nil, corrupt(p, "sum has bytes behind its last file")
	}
	return s, nil
}

// Write writes the .sum file into dir. It is complete and synced when it returns
// nil.
func (s *Sum) Write(fsys vfs.FS, dir string) error {
	return vfs.WriteFileAtomic(fsys, filepath.Join(dir, SumName(s.ID.Base)), s.AppendTo(nil))
}

// maxSumBytes bounds what is read of a .sum file: more than that of a segment of
// 2 GiB with its indexes.
const maxSumBytes = 4 << 20

// LoadSum reads the .sum file of a segment from dir. It is an error, a
// *CorruptError, if the file is another segment's. Further errors are ParseSum's
// and the file system's.
func LoadSum(fsys vfs.FS, dir string, id SumID) (*Sum, error) {
	path := filepath.Join(dir, SumName(id.Base))
	data, err := readFile(fsys, path, maxSumBytes)
	if err != nil {
		return nil, err
	}
	s, err := ParseSum(data)
	if err == nil && s.ID != id {
		err = corrupt(14, "sum is of %s-%d from offset %d", FormatUUID(s.ID.TopicID), s.ID.Partition, s.ID.Base)
	}
	if err != nil {
		return nil, at(path, err)
	}
	return s, nil
}
