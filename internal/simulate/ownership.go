package simulate

// Ownership is who has which partition in the groups of consumers, as members know it. Each time that a partition changes hands, its term grows: the
// generation of a group (classic protocol), or the epoch in which the member was given it (KIP-848).
//
//   - In one term a partition has one owner (TwoOwners).
//   - Who has been told of a later term has no need to fear the commits of an earlier one: those sent from then on are refused (StaleCommit).
type Ownership struct {
	findings *Findings
	owners   map[ownershipKey]string
	latest   map[offsetKey]int32
}

type ownershipKey struct {
	offsetKey
	term int32
}

// NewOwnership returns that nobody has anything.
func NewOwnership(f *Findings) *Ownership {
	return &Ownership{findings: f, owners: map[ownershipKey]string{}, latest: map[offsetKey]int32{}}
}

// Owns notes that a member has been told that a partition is its own in a term.
func (o *Ownership) Owns(group, partition int, term int32, member string) {
	k := offsetKey{group, partition}
	of := ownershipKey{k, term}
	if other, known := o.owners[of]; known && other != member {
		o.findings.Report(TwoOwners, "group %d, partition %d: both %s and %s have it in generation %d", group, partition, other, member, term)
		return
	}
	o.owners[of] = member
	o.latest[k] = max(o.latest[k], term)
}

// Outdated reports whether somebody has been told of a later term: a commit of this one that is sent now must be refused.
func (o *Ownership) Outdated(group, partition int, term int32) bool {
	return term < o.latest[offsetKey{group, partition}]
}

// Committed notes that a commit was acknowledged, and whether its term was Outdated when it was sent.
func (o *Ownership) Committed(group, partition int, term int32, member string, outdated bool) {
	if outdated {
		o.findings.Report(StaleCommit, "group %d, partition %d: %s, which had it in generation %d, has committed, though %s had it in generation %d", group, partition,
			member, term, o.owners[ownershipKey{offsetKey{group, partition}, o.latest[offsetKey{group, partition}]}], o.latest[offsetKey{group, partition}])
	}
}
