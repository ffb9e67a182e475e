package main

// cases are what is measured, in the order of the document.
func cases() []benchCase {
	return []benchCase{
		{"load", "Into the RIB", caseLoad},
		{"memory", "Memory with two full tables", caseMemory},
		{"kernel", "Into the kernel, whole", caseKernel},
		{"tables", "Two ISPs and a circuit, into the kernel", caseTables},
	}
}
