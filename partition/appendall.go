package partition

import "context"

// AppendOutcome is the result of one batch of AppendAll.
type AppendOutcome struct {
	AppendResult
	Err error // what Append would have returned
}

// AppendAll appends several batches, each as Append does, and returns when all have their outcome, out[i] being that of
// rs[i]. Batches of different partitions whose acknowledgement waits for a sync are synced at the same time, so that many
// partitions cost hardly more than one; batches of one partition keep their order.
func (s *Store) AppendAll(ctx context.Context, rs []AppendRequest, out []AppendOutcome) {
	if s.config.Cluster != nil {
		s.appendAllReplicated(ctx, rs, out)
		return
	}
	if len(rs) > 1 && s.root != memoryRoot && s.syncsEach(rs) {
		index := make([]int, len(rs))
		for i := range index {
			index[i] = i
		}
		inParallel(s.config.SyncConcurrency, index, func(i int) { out[i].AppendResult, out[i].Err = s.Append(ctx, rs[i]) })
		return
	}
	for i := range rs {
		out[i].AppendResult, out[i].Err = s.Append(ctx, rs[i])
	}
}

// syncsEach reports whether at least two of the batches wait for a sync of their own, and no two are of one partition.
func (s *Store) syncsEach(rs []AppendRequest) bool {
	waiting := 0
	for i := range rs {
		r := &rs[i]
		if p, err := s.part(r.TopicPartition, r.TopicID); err == nil && r.Acks == AcksAll && r.TransactionalID == "" && p.t.settings.Load().log.Sync == SyncAlways {
			waiting++
		}
		// Requests name each partition once, mostly in order; anything else is rare enough to go one by one.
		if i > 0 && compareTopicPartition(rs[i-1].TopicPartition, r.TopicPartition) >= 0 && namedBefore(rs[:i], r.TopicPartition) {
			return false
		}
	}
	return waiting > 1
}

func namedBefore(rs []AppendRequest, tp TopicPartition) bool {
	for i := range rs {
		if rs[i].TopicPartition == tp {
			return true
		}
	}
	return false
}

// appendAllReplicated writes all batches, and then waits for the other replicas of all of them at the same time.
func (s *Store) appendAllReplicated(ctx context.Context, rs []AppendRequest, out []AppendOutcome) {
	parts, pending := make([]*part, len(rs)), make([]written, len(rs))
	write := func(i int) {
		if parts[i], pending[i].err = s.partToAppend(ctx, &rs[i]); pending[i].err == nil {
			pending[i] = parts[i].write(ctx, rs[i].Batch, rs[i].options())
		}
	}
	if len(rs) > 1 && s.root != memoryRoot && s.syncsEach(rs) {
		index := make([]int, len(rs))
		for i := range index {
			index[i] = i
		}
		inParallel(s.config.SyncConcurrency, index, write)
	} else {
		for i := range rs {
			write(i)
		}
	}
	for i := range rs {
		out[i].AppendResult, out[i].Err = pending[i].result(ctx, parts[i])
	}
}
