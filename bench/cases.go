package main

// cases are what is measured, in the order of the document.
func cases() []benchCase {
	return []benchCase{
		{"load", "Into the RIB", caseLoad},
		{"memory", "Memory with two full tables", caseMemory},
		{"kernel", "Into the kernel, whole", caseKernel},
		{"tables", "Two ISPs and a circuit, into the kernel", caseTables},
		{"drop", "The better neighbor's session ends, whole table", caseDrop},
		{"ipv6", "The better neighbor's session ends, IPv6", caseIPv6},
		{"carrier", "A carrier is lost", caseCarrier},
		{"refill", "A carrier is lost under full tables", caseRefill},
		{"bfd", "Silent loss with BFD", caseBFD},
		{"probes", "Silent loss beyond the neighbor", caseProbes},
		{"kill", "Killed and started again", caseKill},
		{"restart", "A new process takes over", caseRestart},
		{"forward", "Forwarding", caseForward},
		{"churn", "Real updates", caseChurn},
	}
}
