"""Names that the configuration of a Keras model may use: what Keras 3.15 and tf_keras 2.21 bring, and know to be harmless.

A name is here because what it stands for computes with tensors and nothing else: it runs no code of the file's, reads and
writes no file. A layer of a later Keras is not loaded before somebody has looked at it and added it. Left out are Lambda,
TFSMLayer, TorchModuleWrapper, JaxLayer and FlaxLayer, which hold code, and operations that take a function.
"""

from __future__ import annotations

__all__ = [
    "ATTRIBUTES",
    "BACKEND",
    "CLASSES",
    "FUNCTIONS",
    "GRAPH_OPERATIONS",
    "LOOKUPS",
    "METHODS",
    "NAMESPACES",
    "READING",
    "SPECS",
    "TENSOR_CLASSES",
    "TF_FUNCTIONS",
    "VALUES",
]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


LAYERS = _words(
    """
    AbstractRNNCell Activation ActivityRegularization AdaptiveAveragePooling1D AdaptiveAveragePooling2D
    AdaptiveAveragePooling3D AdaptiveMaxPooling1D AdaptiveMaxPooling2D AdaptiveMaxPooling3D Add AdditiveAttention
    AlphaDropout Attention AugMix AutoContrast Average AveragePooling1D AveragePooling2D AveragePooling3D AvgPool1D
    AvgPool2D AvgPool3D BatchNormalization BatchNormalizationV1 BatchNormalizationV2 Bidirectional CategoryEncoding
    CenterCrop Concatenate ContrastLimitedAdaptiveHistogramEqualization Conv1D Conv1DTranspose Conv2D Conv2DTranspose
    Conv3D Conv3DTranspose ConvLSTM1D ConvLSTM2D ConvLSTM3D Convolution1D Convolution1DTranspose Convolution2D
    Convolution2DTranspose Convolution3D Convolution3DTranspose Cropping1D Cropping2D Cropping3D CuDNNGRU CuDNNLSTM
    CustomScaleLayer CutMix Dense DenseFeatures DepthwiseConv1D DepthwiseConv2D Discretization Dot Dropout ELU
    EinsumDense Embedding Equalization Flatten GRU GRUCell GaussianDropout GaussianNoise GlobalAveragePooling1D
    GlobalAveragePooling2D GlobalAveragePooling3D GlobalAvgPool1D GlobalAvgPool2D GlobalAvgPool3D GlobalMaxPool1D
    GlobalMaxPool2D GlobalMaxPool3D GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D GroupNormalization
    GroupQueryAttention HashedCrossing Hashing Identity InputLayer InputSpec IntegerLookup LSTM LSTMCell Layer
    LayerNormalization LayerScale LeakyReLU LocallyConnected1D LocallyConnected2D Masking MaxNumBoundingBoxes
    MaxPool1D MaxPool2D MaxPool3D MaxPooling1D MaxPooling2D MaxPooling3D Maximum MelSpectrogram Minimum Mish MixUp
    MultiHeadAttention Multiply Normalization PReLU Permute Pipeline PreprocessingLayer RMSNormalization RNN
    RandAugment RandomBrightness RandomColorDegeneration RandomColorJitter RandomContrast RandomCrop
    RandomElasticTransform RandomErasing RandomFlip RandomGaussianBlur RandomGrayscale RandomHeight RandomHue
    RandomInvert RandomPerspective RandomPosterization RandomRotation RandomSaturation RandomSharpness RandomShear
    RandomTranslation RandomWidth RandomZoom ReLU RepeatVector Rescaling Reshape Resizing ReversibleEmbedding
    STFTSpectrogram SeparableConv1D SeparableConv2D SeparableConvolution1D SeparableConvolution2D SimpleRNN
    SimpleRNNCell Softmax Solarization SpatialDropout1D SpatialDropout2D SpatialDropout3D SpectralNormalization
    StackedRNNCells StochasticDepth StringLookup Subtract SyncBatchNormalization TextVectorization ThresholdedReLU
    TimeDistributed UnitNormalization UpSampling1D UpSampling2D UpSampling3D Wrapper ZeroPadding1D ZeroPadding2D
    ZeroPadding3D
    """
)
PARTS = _words(
    """
    AWQConfig AWQDTypePolicy AbsMaxQuantizer Constant Constraint DTypePolicy DTypePolicyMap FakeQuantWithMinMaxVars
    Float8QuantizationConfig FloatDTypePolicy GPTQConfig GPTQDTypePolicy GlorotNormal GlorotUniform HeNormal HeUniform
    Identity IdentityInitializer Initializer Int4DTypePolicy Int4QuantizationConfig Int8QuantizationConfig L1 L1L2 L2
    LecunNormal LecunUniform LossScaleOptimizer MaxNorm MinMaxNorm NonNeg Ones Orthogonal OrthogonalInitializer
    OrthogonalRegularizer Policy PolicyV1 QuantizationConfig QuantizedDTypePolicy QuantizedFloat8DTypePolicy Quantizer
    RadialConstraint RandomNormal RandomUniform Regularizer STFT STFTInitializer SeedGenerator TruncatedNormal
    UnitNorm VarianceScaling Zeros constant glorot_normal glorot_uniform he_normal he_uniform identity l1 l1_l2 l2
    lecun_normal lecun_uniform max_norm min_max_norm non_neg ones orthogonal orthogonal_regularizer radial_constraint
    random_normal random_uniform stft truncated_normal unit_norm variance_scaling zeros
    """
)
TRAINING = _words(
    """
    AUC Accuracy Adadelta Adafactor Adagrad Adam AdamW Adamax BinaryAccuracy BinaryCrossentropy
    BinaryFocalCrossentropy BinaryIoU CTC CategoricalAccuracy CategoricalCrossentropy CategoricalFocalCrossentropy
    CategoricalGeneralizedCrossEntropy CategoricalHinge Circle CompileLoss CompileMetrics ConcordanceCorrelation
    CosineDecay CosineDecayRestarts CosineSimilarity Dice ExponentialDecay F1Score FBetaScore FalseNegatives
    FalsePositives Ftrl Hinge Huber InverseTimeDecay IoU KLDivergence Lamb LearningRateSchedule Lion LogCosh
    LogCoshError Loss LossFunctionWrapper LossScaleOptimizer Mean MeanAbsoluteError MeanAbsolutePercentageError
    MeanIoU MeanMetricWrapper MeanRelativeError MeanSquaredError MeanSquaredLogarithmicError MeanTensor Metric
    MultiOptimizer Muon Nadam OneHotIoU OneHotMeanIoU Optimizer OptimizerMap PearsonCorrelation PiecewiseConstantDecay
    Poisson PolynomialDecay Precision PrecisionAtRecall R2Score RMSprop Recall RecallAtPrecision Reduction
    RootMeanSquaredError SGD ScheduleFreeAdamW SensitivityAtSpecificity SparseCategoricalAccuracy
    SparseCategoricalCrossentropy SparseTopKCategoricalAccuracy SpecificityAtSensitivity SquaredHinge Sum
    TopKCategoricalAccuracy TrueNegatives TruePositives Tversky
    """
)
OPERATIONS = _words(
    """
    Abs Absolute AdaptiveAveragePool AdaptiveMaxPool Add AffineTransform All AllClose Amax Amin Angle Any Append
    Arange Arccos Arccosh Arcsin Arcsinh Arctan Arctan2 Arctanh Argmax Argmin Argpartition Argsort Array ArraySplit
    Average AveragePool BatchNorm BinaryCrossentropy Bincount BitwiseAnd BitwiseInvert BitwiseLeftShift BitwiseNot
    BitwiseOr BitwiseRightShift BitwiseXor BroadcastTo CDist CTCDecode CTCLoss Cast CategoricalCrossentropy Cbrt Ceil
    Celu Cholesky CholeskyInverse Clip Concatenate Conj Conjugate Conv ConvTranspose ConvertToTensor Copy Corrcoef
    Correlate Cos Cosh CountNonzero CropImages Cross Cumprod Cumsum Deg2rad DepthToSpace DepthwiseConv Det Diag
    Diagflat Diagonal Diff Digitize Divide DivideNoNan Dot DotProductAttention Dsplit Dstack Eig Eigh Einsum
    ElasticTransform Elu EmptyLike Equal Erf Erfc Erfinv Exp Exp2 ExpandDims Expm1 ExtractPatches ExtractSequences FFT
    FFT2 Fabs Flip Fliplr Flipud Floor FloorDivide Fmax Fmin Fmod Fold Full FullLike GaussianBlur Gcd Gelu Geomspace
    GetItem Glu Greater GreaterEqual HSVToRGB HardShrink HardSigmoid HardSilu HardTanh Heaviside Histogram Hsplit
    Hstack Hypot I0 IFFT2 IRFFT ISTFT Imag InTopK Inner Inv IsIn Isclose Isfinite Isinf Isnan Isneginf Isposinf Isreal
    Kron LayerNorm Lcm Ldexp LeakyRelu LeftShift Less LessEqual Linspace Log Log10 Log1p Log2 LogSigmoid LogSoftmax
    Logaddexp Logaddexp2 Logdet LogicalAnd LogicalNot LogicalOr LogicalXor Logspace Logsumexp Lstsq LuFactor
    MapCoordinates Matmul MatrixRank Max MaxPool Maximum Mean Median Meshgrid Min Minimum Mod Moments Moveaxis
    MultiHot Multiply NanToNum Nanargmax Nanargmin Nancumprod Nancumsum Nanmax Nanmean Nanmedian Nanmin Nanpercentile
    Nanprod Nanquantile Nanstd Nansum Nanvar Ndim Negative Nextafter Nonzero Norm Normalize NotEqual OneHot OnesLike
    Outer PSNR Pad PadImages Percentile PerspectiveTransform Pinv Polar Power Prod Ptp Qr Quantile RFFT RGBToGrayscale
    RGBToHSV RMSNorm Rad2deg Ravel Real Rearrange Reciprocal Relu Relu6 Repeat Reshape Resize RightShift Roll Rot90
    Round Rsqrt SSIM STFT SVD SaturateCast ScaleAndTranslate Scatter ScatterUpdate SearchSorted SegmentMax SegmentMin
    SegmentProd SegmentReduction SegmentSum Select Selu SeparableConv Sigmoid Sign Signbit Silu Sin Sinc Sinh Size
    Slice SliceUpdate Slogdet SobelEdges SoftShrink Softmax Softplus Softsign Solve SolveTriangular Sort SpaceToDepth
    SparseCategoricalCrossentropy SparsePlus SparseSigmoid Sparsemax Split Sqrt Square Squareplus Squeeze Stack Std
    StopGradient Subtract Sum Swapaxes Take TakeAlongAxis Tan Tanh TanhShrink Tensordot Threshold Tile TopK Trace
    Transpose Trapezoid Tril Triu TrueDivide Trunc Unfold Unique UnravelIndex Unstack Vander Var Vdot View
    ViewAsComplex ViewAsReal Vsplit Vstack Where ZerosLike
    """
)
FUNCTIONS = _words(
    """
    KLD MAE MAPE MSE MSLE binary_accuracy binary_crossentropy binary_focal_crossentropy categorical_accuracy
    categorical_crossentropy categorical_focal_crossentropy categorical_generalized_cross_entropy categorical_hinge
    celu circle concordance_correlation cosine_similarity ctc dice elu exponential gelu glu hard_shrink hard_sigmoid
    hard_silu hard_swish hard_tanh hinge huber kl_divergence kld kullback_leibler_divergence leaky_relu linear
    log_cosh log_sigmoid log_softmax logcosh mae mape mean_absolute_error mean_absolute_percentage_error
    mean_squared_error mean_squared_logarithmic_error mish mse msle pearson_correlation poisson relu relu6 selu
    sigmoid silu soft_shrink softmax softplus softsign sparse_categorical_accuracy sparse_categorical_crossentropy
    sparse_plus sparse_sigmoid sparse_top_k_categorical_accuracy sparsemax squared_hinge squareplus swish tanh
    tanh_shrink threshold top_k_categorical_accuracy tversky
    """
)
MODELS = _words(
    """
    Functional LinearModel Model Sequential WideDeepModel
    """
)

# Feature columns of tf_keras' DenseFeatures; one that reads its vocabulary from a file is left out.
COLUMNS = _words(
    """
    BucketizedColumn CrossedColumn DenseFeatures EmbeddingColumn HashedCategoricalColumn IdentityCategoricalColumn
    IndicatorColumn NumericColumn SequenceCategoricalColumn SequenceFeatures SequenceNumericColumn
    SharedEmbeddingColumn VocabularyListCategoricalColumn WeightedCategoricalColumn
    """
)

CLASSES = MODELS | LAYERS | PARTS | TRAINING | OPERATIONS | COLUMNS

# What a configuration writes down as itself: no object is looked up.
VALUES = _words(
    """
    CompositeTensor TensorShape __bytes__ __ellipsis__ __keras_tensor__ __numpy__ __slice__ __tensor__ __tuple__
    """
)

LOOKUPS = _words(
    """
    IntegerLookup StringLookup TextVectorization
    """
)  # their vocabulary may be the name of a file

# Types of tensors: by the name that they are registered under, or by module and class.
SPECS = _words(
    """
    tf.BoundedTensorSpec tf.RaggedTensorSpec tf.SparseTensorSpec tf.TensorSpec
    tensorflow.python.framework.sparse_tensor.SparseTensorSpec tensorflow.python.framework.tensor.BoundedTensorSpec
    tensorflow.python.framework.tensor.TensorSpec tensorflow.python.framework.tensor_spec.BoundedTensorSpec
    tensorflow.python.framework.tensor_spec.TensorSpec tensorflow.python.ops.ragged.ragged_tensor.RaggedTensorSpec
    """
)

# TensorFlow's functions in a functional model of tf_keras: of these modules all, but those that can read a file,
NAMESPACES = _words(
    """
    __operators__ bitwise dtypes image linalg math nn quantization ragged sets signal sparse strings
    """
)
READING = frozenset(["nn.fixed_unigram_candidate_sampler"])

# and of others these.
TF_FUNCTIONS = _words(
    """
    abs acos acosh add add_n argmax argmin argsort as_string asin asinh atan atan2 atanh batch_to_space bitcast
    boolean_mask broadcast_to cast ceil clip_by_global_norm clip_by_norm clip_by_value complex concat constant
    convert_to_tensor cos cosh cumsum divide dynamic_partition dynamic_stitch edit_distance eig eigvals einsum
    ensure_shape equal exp expand_dims extract_volume_patches eye fill floor gather gather_nd greater greater_equal
    histogram_fixed_width histogram_fixed_width_bins identity identity_n less less_equal linspace log logical_and
    logical_not logical_or matmul matrix_square_root maximum meshgrid minimum multiply negative norm not_equal one_hot
    ones ones_like pad pow range rank realdiv reduce_all reduce_any reduce_logsumexp reduce_max reduce_mean reduce_min
    reduce_prod reduce_sum repeat reshape reverse reverse_sequence roll round rsqrt saturate_cast scalar_mul
    scatter_nd searchsorted sequence_mask shape shape_n sigmoid sign sin sinh size slice sort space_to_batch
    space_to_batch_nd split sqrt square squeeze stack stop_gradient strided_slice subtract tan tanh
    tensor_scatter_nd_add tensor_scatter_nd_max tensor_scatter_nd_min tensor_scatter_nd_sub tensor_scatter_nd_update
    tensordot tile to_float to_int32 to_int64 transpose truediv truncatediv truncatemod unique unique_with_counts
    unravel_index unstack where zeros zeros_like io.decode_base64 io.decode_raw io.encode_base64 random.categorical
    random.gamma random.normal random.poisson random.shuffle random.stateless_categorical random.stateless_gamma
    random.stateless_normal random.stateless_truncated_normal random.stateless_uniform random.truncated_normal
    random.uniform
    """
)

# Of tf_keras' own backend.
BACKEND = _words(
    """
    abs all any argmax argmin batch_dot batch_flatten batch_normalization bias_add binary_crossentropy cast
    cast_to_floatx categorical_crossentropy clip concatenate conv1d conv2d conv2d_transpose conv3d cos ctc_batch_cost
    ctc_decode cumprod cumsum depthwise_conv2d dot dropout elu equal exp expand_dims flatten gather greater
    greater_equal hard_sigmoid in_top_k l2_normalize less less_equal log max maximum mean min minimum not_equal
    one_hot ones_like permute_dimensions pool2d pool3d pow prod random_bernoulli random_normal random_uniform relu
    repeat repeat_elements reshape resize_images resize_volumes reverse round separable_conv2d shape sigmoid sign sin
    softmax softplus softsign sparse_categorical_crossentropy spatial_2d_padding spatial_3d_padding sqrt square
    squeeze stack std stop_gradient sum tanh temporal_padding tile to_dense transpose truncated_normal var zeros_like
    """
)

# What tf_keras asks of ragged and sparse tensors: attributes, methods, and classes with methods that make one.
ATTRIBUTES = _words(
    """
    batch_dim dense_shape dtype flat_values indices nested_row_splits ragged_rank row_lengths row_splits shape values
    """
)
METHODS = ATTRIBUTES | _words(
    """
    bounding_shape get_shape nested_row_lengths nested_value_rowids nrows row_limits row_starts to_sparse to_tensor
    value_rowids with_flat_values with_row_splits_dtype with_values
    """
)
TENSOR_CLASSES = frozenset(["RaggedTensor", "SparseTensor", "sparse.SparseTensor"])

# TensorFlow's operations in functional models of TensorFlow 2.0 to 2.3.
GRAPH_OPERATIONS = _words(
    """
    Abs Add AddN AddV2 All Any ArgMax ArgMin BatchMatMul BatchMatMulV2 BiasAdd BroadcastTo Cast Ceil ClipByValue
    ConcatV2 Conv2D Cos Cumsum DepthToSpace Div DivNoNan Equal Erf Exp ExpandDims Fill Floor FloorDiv FloorMod
    GatherNd GatherV2 Greater GreaterEqual Identity L2Loss LeakyRelu Less LessEqual Log Log1p LogSoftmax LogicalAnd
    LogicalNot LogicalOr MatMul Max Maximum Mean Min Minimum MirrorPad Mul Neg NotEqual OneHot OnesLike Pack Pad PadV2
    Pow Prod RealDiv Reciprocal Relu Relu6 Reshape ResizeBilinear ResizeNearestNeighbor ReverseV2 Round Rsqrt Select
    SelectV2 Selu Shape Sigmoid Sign Sin Size Softmax Softplus SpaceToDepth Split SplitV Sqrt Square SquaredDifference
    Squeeze StopGradient StridedSlice Sub Sum Tan Tanh Tile TopKV2 Transpose Unpack Where ZerosLike
    """
)
