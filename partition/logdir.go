package partition

import "context"

// Volume is the space of the volume that a store is on, in bytes. Both are −1 where the system does not tell.
type Volume struct{ Total, Free int64 }

// Volume asks the file system.
func (s *Store) Volume() Volume {
	u, err := s.fs.Usage(s.root)
	if err != nil {
		return Volume{-1, -1}
	}
	return Volume{u.Total, u.Free}
}

// Size returns the bytes of a partition's segments, as DescribeLogDirs tells them. It opens a partition that has not been
// used since the store was opened.
func (s *Store) Size(ctx context.Context, tp TopicPartition) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	p, err := s.part(tp, TopicID{})
	if err != nil {
		return 0, s.closedOr(err)
	}
	l, err := p.open()
	if err != nil {
		return 0, err
	}
	return l.Stats().Bytes, nil
}
