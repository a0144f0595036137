package kafka

func init() {
	for key, a := range map[int16]api{
		keySASLHandshake:    {name: "SaslHandshake", Range: Range{0, 1}, handle: handleSASLHandshake},
		29:                  {name: "DescribeAcls", Range: Range{1, 3}, handle: handleDescribeACLs},
		30:                  {name: "CreateAcls", Range: Range{1, 3}, handle: handleCreateACLs},
		31:                  {name: "DeleteAcls", Range: Range{1, 3}, handle: handleDeleteACLs},
		keySASLAuthenticate: {name: "SaslAuthenticate", Range: Range{0, 2}, handle: handleSASLAuthenticate},
		48:                  {name: "DescribeClientQuotas", Range: Range{0, 1}, handle: handleDescribeClientQuotas},
		49:                  {name: "AlterClientQuotas", Range: Range{0, 1}, handle: handleAlterClientQuotas},
		50:                  {name: "DescribeUserScramCredentials", Range: Range{0, 0}, handle: handleDescribeUserSCRAMCredentials},
		51:                  {name: "AlterUserScramCredentials", Range: Range{0, 0}, handle: handleAlterUserSCRAMCredentials},
	} {
		apis[key] = &a
	}
}
